//! White lists as people write them, and what a change leaves of them.

use super::*;
use ipnet::IpNet;
use proptest::prelude::*;
use std::fs::{self, Permissions};
use std::net::Ipv6Addr;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use tempfile::TempDir;

/// A folder with a white list of this text.
fn file(text: impl AsRef<[u8]>) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sipban.wl");
    fs::write(&path, text).unwrap();
    (folder, path)
}

fn load(path: &Path) -> WhiteList {
    WhiteList::load(path).unwrap().0
}

fn shown(list: &WhiteList) -> Vec<String> {
    list.entries().map(NetOrHost::to_string).collect()
}

#[test]
fn addresses_networks_and_names_are_read() {
    let text = "127.0.0.1\n10.1.2.3/16\n192.168.0.0/255.255.255.0\n2001:DB8::1\n2001:db8::1/48\n\
                SIP.example.com.\n::ffff:192.0.2.1\n::ffff:192.0.2.0/120\n198.51.100.7/32\n";
    let (_folder, path) = file(text);
    let (list, errors) = WhiteList::load(&path).unwrap();
    assert_eq!(errors, []);
    assert_eq!(
        shown(&list),
        [
            "127.0.0.1",
            "10.1.0.0/16",
            "192.168.0.0/24",
            "2001:db8::1",
            "2001:db8::/48",
            "sip.example.com",
            "192.0.2.1",
            "192.0.2.0/24",
            "198.51.100.7",
        ]
    );
}

#[test]
fn comments_in_any_encoding_spaces_and_windows_line_ends_do_no_harm() {
    let (_folder, path) = file(
        b"\xef\xbb\xbf# se\xf1al\r\n\r\n  192.0.2.1  \r\n192.0.2.2 # trunk de Espa\xf1a\r\n192.0.2.3;x\r\n\t\n192.0.2.4",
    );
    let (list, errors) = WhiteList::load(&path).unwrap();
    assert_eq!(errors, []);
    assert_eq!(shown(&list), ["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"]);
}

#[test]
fn a_bad_line_is_named_and_the_rest_holds() {
    let (_folder, path) = file(b"192.0.2.1\n192.0.2.300\n10.0.0.0/33\n192.0.2.2 office\nfoo bar\n\xff\n192.0.2.3\n");
    let (list, errors) = WhiteList::load(&path).unwrap();
    assert_eq!(shown(&list), ["192.0.2.1", "192.0.2.3"]);
    let lines: Vec<_> = errors.iter().map(|error| error.line.unwrap()).collect();
    assert_eq!(lines, [2, 3, 4, 5, 6]);
    assert_eq!(
        errors[0].to_string(),
        format!("{}:2: \"192.0.2.300\" is no address, network or host name", path.display())
    );
    assert!(errors[2].what.contains("# before a comment"), "{}", errors[2]);
}

#[test]
fn no_file_is_an_empty_list_and_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sipban.wl");
    let (mut list, errors) = WhiteList::load(&path).unwrap();
    assert_eq!(list.entries().count(), 0);
    assert!(matches!(&errors[..], [LineError { line: None, .. }]), "{errors:?}");
    list.add("192.0.2.1").unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "192.0.2.1\n");
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o644);
}

#[test]
fn a_file_that_cannot_be_read_is_an_error_with_its_path() {
    let folder = tempfile::tempdir().unwrap();
    let error = WhiteList::load(folder.path()).unwrap_err().to_string();
    assert!(error.contains(&folder.path().display().to_string()), "{error}");
}

#[test]
fn a_change_keeps_every_other_byte() {
    let text = b"# the PBX\r\n127.0.0.1\r\n\r\nnonsense here\r\n192.0.2.2 ; Espa\xf1a\r\n# end";
    let (_folder, path) = file(text);
    let mut list = load(&path);
    assert!(list.add("192.0.2.9/24").unwrap().1);
    assert_eq!(fs::read(&path).unwrap(), [&text[..], b"\r\n192.0.2.0/24\r\n"].concat());
    assert!(list.remove("192.0.2.0/255.255.255.0").unwrap().1);
    assert_eq!(fs::read(&path).unwrap(), [&text[..], b"\r\n"].concat());
    assert!(list.remove("192.0.2.2").unwrap().1);
    assert_eq!(fs::read(&path).unwrap(), b"# the PBX\r\n127.0.0.1\r\n\r\nnonsense here\r\n# end\r\n");
    assert_eq!(shown(&list), ["127.0.0.1"]);
}

#[test]
fn an_entry_that_is_there_and_one_that_is_not_leave_the_file_alone() {
    let (folder, path) = file("192.0.2.1\n");
    let mut list = load(&path);
    let before = fs::metadata(&path).unwrap().ino();
    let entry = NetOrHost::Net("192.0.2.1/32".parse().unwrap());
    assert_eq!(list.add("192.0.2.1/32").unwrap(), (entry, false));
    assert!(!list.remove("192.0.2.2").unwrap().1);
    assert_eq!(fs::metadata(&path).unwrap().ino(), before);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn what_is_no_entry_is_refused_with_the_reason() {
    let (_folder, path) = file("192.0.2.1\n");
    let mut list = load(&path);
    for text in ["", "192.0.2.", "1.2.3.4/33", "a b", "x\n192.0.2.9", "fe80::1%eth0", "-x", "10.0.0.0/255.0.255.0"] {
        let error = list.add(text).unwrap_err();
        assert!(matches!(error, Error::Entry(_)), "{text}: {error}");
    }
    assert_eq!(fs::read_to_string(&path).unwrap(), "192.0.2.1\n");
}

#[test]
fn what_was_changed_by_hand_since_is_kept_and_holds() {
    let (_folder, path) = file("192.0.2.1\n");
    let mut list = load(&path);
    fs::write(&path, "# by hand\n192.0.2.7\n").unwrap();
    list.add("192.0.2.8").unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "# by hand\n192.0.2.7\n192.0.2.8\n");
    assert_eq!(shown(&list), ["192.0.2.7", "192.0.2.8"]);
}

#[test]
fn mode_and_symbolic_link_stay_and_nothing_is_left_over() {
    let (folder, path) = file("192.0.2.1\n");
    fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
    fs::write(folder.path().join("sipban.wl.new"), "left by a power loss").unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let link = elsewhere.path().join("link");
    symlink(&path, &link).unwrap();
    load(&link).add("192.0.2.2").unwrap();
    assert!(link.is_symlink());
    assert_eq!(fs::read_to_string(&path).unwrap(), "192.0.2.1\n192.0.2.2\n");
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o640);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 1);
}

#[test]
fn the_owner_stays() {
    let (_folder, path) = file("192.0.2.1\n");
    if let Err(why) = std::os::unix::fs::chown(&path, Some(1234), Some(4321)) {
        assert!(std::env::var_os("CI").is_none(), "only root can tell: {why}");
        return;
    }
    load(&path).add("192.0.2.2").unwrap();
    let owner = fs::metadata(&path).unwrap();
    assert_eq!((owner.uid(), owner.gid()), (1234, 4321));
}

#[test]
fn a_change_that_cannot_be_written_changes_nothing() {
    let (folder, path) = file("192.0.2.1\n");
    let mut list = load(&path);
    fs::create_dir(folder.path().join("sipban.wl.new")).unwrap();
    let error = list.add("192.0.2.2").unwrap_err();
    assert!(matches!(error, Error::Write { .. }), "{error}");
    assert_eq!(shown(&list), ["192.0.2.1"]);
    assert_eq!(fs::read_to_string(&path).unwrap(), "192.0.2.1\n");
}

#[test]
fn the_sample_protects_this_machine() {
    let (_folder, path) = file(include_bytes!("../../../conf/sipban.wl"));
    let (list, errors) = WhiteList::load(&path).unwrap();
    assert_eq!(errors, []);
    assert_eq!(shown(&list), ["127.0.0.1"]);
}

proptest! {
    #[test]
    fn no_line_panics_and_what_is_an_entry_reads_back(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
        if let Ok(Some(entry)) = read_line(&bytes) {
            prop_assert_eq!(entry.to_string().parse(), Ok(entry));
        }
    }

    #[test]
    fn every_network_reads_back(bits in any::<u128>(), length in 0u8..=128) {
        let net = IpNet::new(Ipv6Addr::from(bits).into(), length).unwrap();
        let entry: NetOrHost = net.to_string().parse().unwrap();
        prop_assert_eq!(entry.to_string().parse(), Ok(entry));
    }
}
