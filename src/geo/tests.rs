use std::fs;

use tempfile::TempDir;

use super::*;

#[path = "../../tests/common/mmdb.rs"]
mod mmdb;

use mmdb::{Value, country, database, operator};

/// A folder with a database of each kind.
struct Shelf {
    folder: TempDir,
    config: GeoConfig,
}

impl Shelf {
    fn new() -> Shelf {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| Some(folder.path().join(name));
        let config = GeoConfig { country: path("country"), network: path("network") };
        let shelf = Shelf { folder, config };
        let registered = Value::Map(vec![("registered_country", Value::Map(vec![("iso_code", Value::Text("SE"))]))]);
        let countries = [
            ("203.0.113.0/24", country("MX")),
            ("198.51.100.7/32", country("ru")),
            ("192.0.2.0/25", registered),
            ("192.0.2.128/25", country("no country")),
            ("2001:db8::/32", country("US")),
        ];
        shelf.put("country", &database("GeoLite2-Country", &countries));
        let networks = [
            ("203.0.113.0/24", operator(64500, "Example \u{1b}[2J Ltd")),
            ("198.51.100.0/24", operator(64501, "")),
            ("2001:db8::/32", operator(64502, "A name that is far longer than anybody wants to read it in a table")),
        ];
        shelf.put("network", &database("GeoLite2-ASN", &networks));
        shelf
    }

    fn put(&self, name: &str, bytes: &[u8]) {
        fs::write(self.folder.path().join(name), bytes).unwrap();
    }

    /// What is said of the country file when it holds this.
    fn error(&self, bytes: &[u8]) -> String {
        self.put("country", bytes);
        let error = Atlas::open(&self.config).unwrap_err().to_string();
        let path = self.config.country.as_ref().unwrap().display().to_string();
        error.strip_prefix(&format!("geo.country: {path}: ")).unwrap().to_owned()
    }
}

/// One that knows a few networks of the documentation, such as 2001:db8::/32 in the US.
pub(crate) fn atlas() -> Atlas {
    Atlas::open(&Shelf::new().config).unwrap()
}

fn place(atlas: &Atlas, address: &str) -> String {
    atlas.place(address.parse().unwrap()).to_string()
}

#[test]
fn addresses_are_found_in_both_files() {
    let atlas = atlas();
    assert!(!atlas.is_empty());
    for (address, is) in [
        ("203.0.113.9", "MX, AS64500 Example \\u{1b}[2J Ltd"),
        ("::ffff:203.0.113.9", "MX, AS64500 Example \\u{1b}[2J Ltd"),
        ("198.51.100.7", "RU, AS64501"),
        ("198.51.100.8", "AS64501"),
        ("192.0.2.1", "SE"),
        ("192.0.2.129", ""),
        ("2001:db8::1", "US, AS64502 A name that is far longer than a"),
        ("10.0.0.1", ""),
    ] {
        assert_eq!(place(&atlas, address), is, "{address}");
    }
}

#[test]
fn without_files_nothing_is_known_and_with_one_what_it_says() {
    let shelf = Shelf::new();
    let none = Atlas::open(&GeoConfig::default()).unwrap();
    assert!(none.is_empty() && place(&none, "203.0.113.9").is_empty());
    let networks = Atlas::open(&GeoConfig { country: None, ..shelf.config }).unwrap();
    assert_eq!(place(&networks, "198.51.100.7"), "AS64501");
}

#[test]
fn a_replaced_file_is_read_again_and_a_bad_one_leaves_the_old_in_force() {
    let shelf = Shelf::new();
    let atlas = Atlas::open(&shelf.config).unwrap();
    let copy = atlas.clone();
    shelf.put("country", b"<html>Sign in to download");
    reread(&atlas, &shelf);
    assert!(atlas.rereading().told.as_ref().is_some_and(|why| why.starts_with("geo.country: ")));
    assert_eq!(place(&copy, "198.51.100.7"), "RU, AS64501");
    shelf.put("country", &database("GeoLite2-Country", &[("198.51.100.0/24", country("FR"))]));
    reread(&atlas, &shelf);
    assert_eq!(atlas.rereading().told, None);
    assert_eq!(place(&copy, "198.51.100.7"), "FR, AS64501");
    assert_eq!(place(&copy, "203.0.113.9"), "AS64500 Example \\u{1b}[2J Ltd");
}

/// Returns when the files were read again.
fn reread(atlas: &Atlas, shelf: &Shelf) {
    atlas.reread(&shelf.config).unwrap();
    while atlas.rereading().is_at_work {
        std::thread::yield_now();
    }
}

#[test]
fn whoever_has_files_read_again_does_not_wait_for_them() {
    let shelf = Shelf::new();
    let atlas = Atlas::open(&shelf.config).unwrap();
    // While this is held nobody can put what was read in force.
    let held = atlas.maps.read().unwrap();
    shelf.put("country", &database("GeoLite2-Country", &[("198.51.100.0/24", country("FR"))]));
    atlas.reread(&shelf.config).unwrap();
    shelf.put("country", &database("GeoLite2-Country", &[("198.51.100.0/24", country("DE"))]));
    atlas.reread(&shelf.config).unwrap();
    drop(held);
    reread(&atlas, &shelf);
    assert_eq!(place(&atlas, "198.51.100.7"), "DE, AS64501");
}

#[test]
fn what_is_no_such_file_is_named() {
    let shelf = Shelf::new();
    let good = fs::read(shelf.config.country.as_ref().unwrap()).unwrap();
    for bad in [&b""[..], b"<html>Sign in to download", &good[..good.len() / 2], &good[good.len() / 2..]] {
        let error = shelf.error(bad);
        assert!(error.starts_with("is no database of MaxMind's format, or damaged ("), "{error}");
        assert!(error.ends_with("); fetch it again"), "{error}");
    }
    let other = database("GeoLite2-ASN", &[("203.0.113.0/24", operator(64500, "Example"))]);
    assert_eq!(
        shelf.error(&other),
        "is a database of another kind (GeoLite2-ASN): its networks have no country.iso_code"
    );
    fs::remove_file(shelf.config.country.as_ref().unwrap()).unwrap();
    let error = Atlas::open(&shelf.config).unwrap_err().to_string();
    assert!(error.ends_with("country: cannot be read: No such file or directory (os error 2)"), "{error}");
}

#[test]
fn a_file_that_would_fill_the_memory_is_not_read() {
    let shelf = Shelf::new();
    let file = fs::File::create(shelf.config.country.as_ref().unwrap()).unwrap();
    // It takes no room on the disk.
    file.set_len(MOST + 1).unwrap();
    let error = Atlas::open(&shelf.config).unwrap_err().to_string();
    assert!(error.ends_with("cannot be read: it has more than 256 MiB"), "{error}");
}

#[test]
fn a_damaged_file_is_no_danger_wherever_it_is_damaged() {
    let shelf = Shelf::new();
    let good = fs::read(shelf.config.country.as_ref().unwrap()).unwrap();
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 0xff;
        shelf.put("country", &bad);
        if let Ok(atlas) = Atlas::open(&shelf.config) {
            for address in ["203.0.113.9", "198.51.100.7", "192.0.2.1", "2001:db8::1", "10.0.0.1"] {
                place(&atlas, address);
            }
        }
    }
}
