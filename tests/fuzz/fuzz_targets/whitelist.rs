//! Any bytes as a white list: what is added and taken out again leaves every other byte as it was, and each entry
//! reads back as it is shown.
#![no_main]

use std::fs;

use libfuzzer_sys::fuzz_target;
use sipban::model::net::NetOrHost;
use sipban::protection::whitelist::WhiteList;

const GUEST: &str = "192.0.2.177";

fuzz_target!(|bytes: &[u8]| {
    let folder = tempfile::tempdir().expect("a folder for files");
    let path = folder.path().join("sipban.wl");
    fs::write(&path, bytes).expect("a file to read");
    let (mut list, _) = WhiteList::load(&path).expect("any bytes can be read");
    let entries: Vec<NetOrHost> = list.entries().cloned().collect();
    for entry in &entries {
        assert_eq!(entry.to_string().parse(), Ok(entry.clone()));
    }
    let guest: NetOrHost = GUEST.parse().expect("an address");
    let (_, new) = list.add(GUEST).expect("the folder can be written to");
    assert_eq!(new, !entries.contains(&guest));
    let written = fs::read(&path).expect("the file is there");
    assert!(written.starts_with(bytes));
    if new {
        assert!(list.entries().eq(entries.iter().chain([&guest])));
        assert!(list.remove(GUEST).expect("the folder can be written to").1);
        let left = fs::read(&path).expect("the file is there");
        // A last line without an end has got one.
        assert!([&b""[..], b"\n", b"\r\n"].iter().any(|end| left.strip_suffix(*end) == Some(bytes)));
        assert!(list.entries().eq(&entries));
    }
});
