//! Who may log in, and who may say what.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::Command;
use std::thread;

use sipban::config::{Fleet, Secret, ServerUrl};
use sipban::fleet::keys::Keys;
use sipban::fleet::{Heard, Link, Side};

use crate::member::{Member, settings, with_password};
use crate::redis::Redis;

/// A server at which everybody logs in as himself, with the rights that `sipban fleet acl` gives.
fn server(members: &[&str]) -> Redis {
    let redis = Redis::start(&[]);
    for name in members {
        let rules = Keys::new("main").rules(name);
        let mut words = vec!["ACL", "SETUSER", name, "reset", "on", ">getout"];
        words.extend(rules.split(' '));
        assert_eq!(redis.say(&words), "OK");
    }
    redis.say(&["ACL", "SETUSER", "default", "resetpass", ">root"]);
    redis
}

#[test]
fn the_rights_are_enough_for_all_that_a_member_does() {
    let redis = server(&["pbx1", "pbx2"]);
    let mut one = Member::start(&with_password("pbx1", redis.port()), BTreeMap::new());
    let mut two = Member::start(&with_password("pbx2", redis.port()), BTreeMap::new());
    one.settle();
    two.settle();
    one.block("198.51.100.7", 3_600);
    two.wait_for_block("pbx1", "198.51.100.7");
    one.unblock("198.51.100.7");
    two.wait_for("the withdrawal", |heard| format!("{heard:?}").contains("Unblock"));
    assert!(!format!("{:?}{:?}", one.heard(), two.heard()).contains("NOPERM"));
}

#[test]
fn the_rights_are_enough_in_a_database_of_the_fleets_own() {
    let redis = server(&["pbx1"]);
    let settings = with_password("pbx1", redis.port());
    let url = settings.url.clone().map(|url| ServerUrl { database: 3, ..url });
    Member::start(&Fleet { url, ..settings }, BTreeMap::new()).settle();
}

#[test]
fn nobody_speaks_in_anothers_name() {
    let redis = server(&["pbx1", "pbx2", "mad"]);
    let mut two = Member::start(&with_password("pbx2", redis.port()), BTreeMap::new());
    two.settle();
    // It calls itself pbx1 and logs in as what it is.
    let mad = Fleet { user: "mad".into(), ..with_password("pbx1", redis.port()) };
    let mut mad = Member::start(&mad, BTreeMap::new());
    let refused =
        |heard: &Heard| matches!(heard, Heard::Link(Side::Writing, Link::Down { why }) if why.contains("NOPERM"));
    mad.block("198.51.100.7", 3_600);
    mad.wait_for("the refusal", refused);
    let cli = |words: &[&str]| redis.say(&[&["--user", "mad", "--pass", "getout"], words].concat());
    for words in [
        &["XADD", "sipban:{main}:s:pbx1", "*", "v", "1"][..],
        &["ZADD", "sipban:{main}:b:pbx1", "9", "x"],
        &["ZREM", "sipban:{main}:b:pbx1", "x"],
        &["SET", "sipban:{main}:h:pbx1", "x"],
        &["DEL", "sipban:{main}:s:mad"],
        &["XTRIM", "sipban:{main}:s:mad", "MAXLEN", "0"],
        &["SET", "sipban:{main}:s:mad:more", "x"],
        &["FLUSHALL"],
        &["KEYS", "*"],
        &["CONFIG", "GET", "*"],
        &["ACL", "LIST"],
    ] {
        let answer = cli(words);
        assert!(answer.contains("NOPERM"), "{words:?}: {answer}");
    }
    assert!(!format!("{:?}", two.heard()).contains("198.51.100.7"));
}

#[test]
fn a_wrong_password_is_said_and_right_again_when_it_is() {
    let redis = server(&["pbx1"]);
    let wrong = Fleet { password: Some(Secret("wrong".into())), ..settings("pbx1", redis.port()) };
    let mut one = Member::start(&wrong, BTreeMap::new());
    let why = one.wait_for("the refusal", |heard| matches!(heard, Heard::Link(_, Link::Down { .. })));
    let shown = format!("{why:?}");
    assert!(shown.contains("refuses user or password") && !shown.contains("wrong\""), "{shown}");
    redis.say(&["-a", "root", "ACL", "SETUSER", "pbx1", ">wrong"]);
    one.settle();
}

#[test]
fn a_server_that_repeats_the_password_brings_it_into_no_log() {
    let parrot = TcpListener::bind("127.0.0.1:0").unwrap();
    let settings = with_password("pbx1", parrot.local_addr().unwrap().port());
    let repeat = move || {
        for tcp in parrot.incoming() {
            let (mut tcp, mut said) = (tcp.unwrap(), [0; 200]);
            let read = tcp.read(&mut said).unwrap_or(0);
            let said = String::from_utf8_lossy(&said[..read]).replace("\r\n", " ");
            // The other side may have gone.
            let _ = write!(tcp, "-ERR unknown command, {said}\r\n");
        }
    };
    thread::Builder::new().name("parrot".into()).spawn(repeat).unwrap();
    let mut one = Member::start(&settings, BTreeMap::new());
    let why = one.wait_for("the refusal", |heard| matches!(heard, Heard::Link(_, Link::Down { .. })));
    let shown = format!("{why:?}");
    assert!(shown.contains("AUTH") && !shown.contains("getout"), "{shown}");
}

#[test]
fn tls_needs_the_right_authority_and_the_certificate_that_the_server_asks_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    certificates(&path);
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let redis = Redis::start(&[
        "--tls-port",
        &port.to_string(),
        "--tls-cert-file",
        &path("server.pem"),
        "--tls-key-file",
        &path("server.key"),
        "--tls-ca-cert-file",
        &path("ca.pem"),
    ]);
    let url = ServerUrl { tls: true, host: "localhost".into(), port, database: 0 };
    let good = Fleet {
        url: Some(url),
        ca: Some(path("ca.pem").into()),
        certificate: Some(path("pbx1.pem").into()),
        key: Some(path("pbx1.key").into()),
        ..settings("pbx1", redis.port())
    };
    let mut one = Member::start(&good, BTreeMap::new());
    one.settle();
    one.block("198.51.100.7", 3_600);
    Member::join("pbx2", redis.port()).wait_for_block("pbx1", "198.51.100.7");
    let failure = |settings: &Fleet| {
        let mut member = Member::start(settings, BTreeMap::new());
        format!("{:?}", member.wait_for("the refusal", |heard| matches!(heard, Heard::Link(_, Link::Down { .. }))))
    };
    let other = failure(&Fleet { ca: Some(path("other.pem").into()), ..good.clone() });
    assert!(other.contains("UnknownIssuer"), "{other}");
    failure(&Fleet { certificate: None, key: None, ..good.clone() });
    let missing = failure(&Fleet { ca: Some(path("none.pem").into()), ..good.clone() });
    assert!(missing.contains("none.pem"), "{missing}");
}

/// An authority, another one, and certificates of the first for the server and for a member.
fn certificates(path: &impl Fn(&str) -> String) {
    for ca in ["ca", "other"] {
        let (key, pem, subject) = (path(&format!("{ca}.key")), path(&format!("{ca}.pem")), format!("/CN={ca}"));
        openssl(&[
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "9",
            "-subj",
            &subject,
            "-keyout",
            &key,
            "-out",
            &pem,
        ]);
    }
    let names = path("names");
    std::fs::write(&names, "subjectAltName=DNS:localhost\n").unwrap();
    for name in ["server", "pbx1"] {
        let of = |end: &str| path(&format!("{name}.{end}"));
        openssl(&[
            "req",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-subj",
            &format!("/CN={name}"),
            "-keyout",
            &of("key"),
            "-out",
            &of("csr"),
        ]);
        openssl(&[
            "x509",
            "-req",
            "-in",
            &of("csr"),
            "-CA",
            &path("ca.pem"),
            "-CAkey",
            &path("ca.key"),
            "-CAcreateserial",
            "-days",
            "9",
            "-extfile",
            &names,
            "-out",
            &of("pem"),
        ]);
    }
}

#[expect(clippy::disallowed_methods, reason = "certificates of the test's own")]
fn openssl(args: &[&str]) {
    let output = Command::new("openssl").args(args).output().unwrap();
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
}
