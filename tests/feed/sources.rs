//! What a source may say, and what is made of it.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use sipban::config::{FeedConfig, FeedFormat, FeedUrl, Secret};
use sipban::feed::copy::Copy;
use sipban::feed::source::{Answer, Failed, Source};
use sipban::model::clock::Clock;
use sipban::web::Limits;

use super::server::{Server, addresses, always, whole};

const SHORT: Limits = Limits { time: Duration::from_secs(2), bytes: 1 << 20 };

fn config(url: &str) -> FeedConfig {
    FeedConfig {
        url: Some(FeedUrl::Web(url.to_owned())),
        format: FeedFormat::Auto,
        key: None,
        every: 3600,
        change: 50,
        keep: 86_400,
        ca: None,
    }
}

fn ask(url: &str) -> Result<Answer, Failed> {
    Source::with_limits(&config(url), SHORT).ask(&Copy::default())
}

/// Why an answer of these bytes is none.
fn why(bytes: impl Into<Vec<u8>>) -> String {
    let server = Server::start(always(bytes.into()));
    let failed = ask(&server.url("/list")).unwrap_err();
    server.stop();
    failed.what
}

fn entries(answer: &Answer) -> usize {
    match answer {
        Answer::List { parsed, .. } => parsed.nets.len(),
        Answer::Batch { nets, .. } => nets.len(),
        Answer::Same | Answer::End => 0,
    }
}

/// What is held of a list whose version the server knows.
fn held(answer: &Answer) -> Copy {
    let Answer::List { parsed, etag, modified } = answer.clone() else { panic!("{answer:?}") };
    Copy { etag, modified, nets: Arc::new(parsed.nets.into_iter().collect()), ..Copy::default() }
}

#[test]
fn a_list_that_has_not_changed_is_not_sent_again() {
    let server = Server::start(Box::new(|asked, stream| {
        let is_same =
            asked.has("if-none-match: \"v1\"") && asked.has("if-modified-since: tue, 24 nov 2026 00:00:00 gmt");
        let headers = "ETag: \"v1\"\r\nLast-Modified: Tue, 24 Nov 2026 00:00:00 GMT\r\n";
        stream.write_all(&match is_same {
            true => b"HTTP/1.1 304 Not Modified\r\n\r\n".to_vec(),
            false => whole("200 OK", headers, addresses(3)),
        })
    }));
    let source = Source::with_limits(&config(&server.url("/list")), SHORT);
    let first = source.ask(&Copy::default()).unwrap();
    assert_eq!(entries(&first), 3);
    assert_eq!(source.ask(&held(&first)).unwrap(), Answer::Same);
    // Who holds nothing has nothing that could be the same.
    assert_eq!(entries(&source.ask(&Copy { nets: Arc::default(), ..held(&first) }).unwrap()), 3);
    server.stop();
}

#[test]
fn an_answer_that_is_no_whole_list_is_none() {
    for (bytes, cause) in [
        (whole("404 Not Found", "", addresses(3)), "the server answers 404"),
        (whole("500 Oops", "", ""), "the server answers 500"),
        (whole("204 No Content", "", ""), "the server answers 204"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n45.10.0.1\n".to_vec(), "the answer is cut short"),
        (b"HTTP/1.1 200 OK\r\n\r\n45.10.0.1\n".to_vec(), "the answer does not say how long it is"),
        (whole("200 OK", "Content-Type: text/html\r\n", "<html><body>busy"), "line 1: \"<html><body>busy\" is no"),
        (whole("200 OK", "Content-Encoding: gzip\r\n", [0x1f, 0x8b, 8, 0]), "compressed, which was not asked for"),
        (whole("200 OK", "", [0x1f, 0x8b, 8, 0, 1, 2, 3]), "is no address or network"),
        (whole("200 OK", "", "45.10.0.1\n45.10.0"), "line 2: \"45.10.0\" is no address or network"),
        (whole("200 OK", "", addresses(90_000)), "longer than 1048576 bytes"),
    ] {
        let why = why(bytes);
        assert!(why.contains(cause), "{why}: {cause}");
    }
    for bytes in ["", "SSH-2.0-x\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n45.10\r\n"] {
        why(bytes);
    }
}

#[test]
fn a_server_that_is_slow_or_never_ends_is_left_in_time() {
    let clock = Clock::start();
    let drip = Server::start(Box::new(|_, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
        for _ in 0..1_000 {
            stream.write_all(b"a\r\n45.10.0.1\n\r\n")?;
            stream.flush()?;
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }));
    assert_eq!(ask(&drip.url("/")).unwrap_err().what, "no whole answer within 2s");
    let endless = Server::start(Box::new(|_, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
        let piece = format!("ffff\r\n{}\r\n", "4".repeat(0xffff));
        loop {
            stream.write_all(piece.as_bytes())?;
        }
    }));
    assert!(ask(&endless.url("/")).unwrap_err().what.contains("longer than 1048576 bytes"));
    let silent = Server::start(Box::new(|_, stream| stream.read(&mut [0]).map(drop)));
    assert_eq!(ask(&silent.url("/")).unwrap_err().what, "no whole answer within 2s");
    assert!(clock.now().monotonic < super::lab::DEADLINE, "{:?}", clock.now());
    [drip, endless, silent].iter().for_each(Server::stop);
}

#[test]
fn a_source_may_lead_elsewhere_a_few_times_and_ask_for_patience() {
    let server = Server::start(Box::new(|asked, stream| {
        let to: Option<u32> = asked.path.strip_prefix("/to").and_then(|count| count.parse().ok());
        stream.write_all(&match to {
            Some(0) => whole("200 OK", "", addresses(5)),
            Some(n) => whole("302 Found", &format!("Location: /to{}\r\n", n - 1), ""),
            None => whole("429 Too Many Requests", "Retry-After: 900\r\n", ""),
        })
    }));
    assert_eq!(entries(&ask(&server.url("/to3")).unwrap()), 5);
    assert!(ask(&server.url("/to4")).unwrap_err().what.contains("elsewhere"));
    let busy = ask(&server.url("/")).unwrap_err();
    assert_eq!((&busy.what[..], busy.wait), ("the server answers 429", Some(Duration::from_secs(900))));
    server.stop();
}

#[test]
fn nobody_listens() {
    let server = Server::start(always(Vec::new()));
    server.stop();
    assert!(ask("http://127.0.0.1:1/").is_err());
}

#[test]
fn tls_is_believed_from_a_known_authority_alone() {
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = certify(folder.path());
    let (other, _) = certify(&folder.path().join("other"));
    let chain: Vec<CertificateDer> = CertificateDer::pem_file_iter(&certificate).unwrap().map(Result::unwrap).collect();
    let tls = rustls::ServerConfig::builder_with_provider(sipban::tls::provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, PrivateKeyDer::from_pem_file(&key).unwrap())
        .unwrap();
    let server = Server::with_tls(
        Box::new(|asked, stream| {
            let plain = "Location: http://127.0.0.1:1/list\r\n";
            stream.write_all(&match &asked.path[..] {
                "/plain" => whole("302 Found", plain, ""),
                _ => whole("200 OK", "", addresses(4)),
            })
        }),
        Some(Arc::new(tls)),
    );
    let ask = |path: &str, ca: Option<&Path>| {
        let url = format!("https://127.0.0.1:{}{path}", server.address.port());
        let config = FeedConfig { ca: ca.map(Path::to_owned), ..config(&url) };
        Source::with_limits(&config, SHORT).ask(&Copy::default())
    };
    assert_eq!(entries(&ask("/list", Some(&certificate)).unwrap()), 4);
    let why = ask("/list", Some(&other)).unwrap_err().what;
    assert!(why.contains("certificate") || why.contains("UnknownIssuer"), "{why}");
    assert!(ask("/list", None).is_err());
    assert_eq!(ask("/plain", Some(&certificate)).unwrap_err().what, "it is led to a server without TLS");
    server.stop();
}

#[test]
fn apiban_is_read_in_batches_to_its_end() {
    let server = Server::start(Box::new(|asked, stream| {
        stream.write_all(&match &asked.path[..] {
            "/api/abc/banned" => whole("200 OK", "", r#"{"ipaddress":["45.10.0.1","45.10.0.2"],"ID":"7"}"#),
            "/api/abc/banned/7" => whole("200 OK", "", r#"{"ipaddress":["45.10.0.3"],"ID":"8"}"#),
            "/api/abc/banned/8" => whole("400 Bad Request", "", r#"{"ipaddress":["no new bans"],"ID":"none"}"#),
            "/api/bad/banned" => whole("403 Forbidden", "", r#"{"ipaddress":["unauthorized"],"ID":"unauthorized"}"#),
            "/api/fast/banned" => whole("429 Slow", "Retry-After: 60\r\n", ""),
            _ => whole("400 Bad Request", "", "oops"),
        })
    }));
    let source = |key: &str| {
        let key = Some(Secret(key.to_owned()));
        Source::with_limits(&FeedConfig { format: FeedFormat::Apiban, key, ..config(&server.url("/api")) }, SHORT)
    };
    let mut copy = Copy::default();
    let mut counts = Vec::new();
    while let Answer::Batch { nets, id } = source("abc").ask(&copy).unwrap() {
        counts.push(nets.len());
        copy.id = Some(id);
    }
    assert_eq!(counts, [2, 1]);
    assert_eq!(source("abc").ask(&copy).unwrap(), Answer::End);
    assert_eq!(source("bad").ask(&copy_at(None)).unwrap_err().what, "the server refuses the key");
    let fast = source("fast").ask(&copy_at(None)).unwrap_err();
    assert_eq!((&fast.what[..], fast.wait), ("the server is asked too often", Some(Duration::from_secs(60))));
    // No error names the key, which is a part of what is asked for.
    let odd = source("k3y").ask(&copy_at(None)).unwrap_err().what;
    assert_eq!(odd, "the server answers 400");
    server.stop();
}

fn copy_at(id: Option<&str>) -> Copy {
    Copy { id: id.map(str::to_owned), ..Copy::default() }
}

#[test]
fn a_file_is_read_when_it_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("list");
    let config = FeedConfig { url: Some(FeedUrl::File(file.clone())), ..config("") };
    let source = Source::with_limits(&config, SHORT);
    assert!(source.ask(&Copy::default()).unwrap_err().what.contains("No such file"));
    fs::write(&file, addresses(2)).unwrap();
    let first = source.ask(&Copy::default()).unwrap();
    assert_eq!(entries(&first), 2);
    assert_eq!(source.ask(&held(&first)).unwrap(), Answer::Same);
    fs::write(&file, addresses(4)).unwrap();
    assert_eq!(entries(&source.ask(&held(&first)).unwrap()), 4);
    fs::write(&file, addresses(90_000)).unwrap();
    assert!(source.ask(&held(&first)).unwrap_err().what.contains("longer than"));
}

/// A certificate for 127.0.0.1, and its key.
fn certify(folder: &Path) -> (std::path::PathBuf, std::path::PathBuf) {
    fs::create_dir_all(folder).unwrap();
    let (config, certificate, key) = (folder.join("conf"), folder.join("cert.pem"), folder.join("key.pem"));
    let mut file = fs::File::create(&config).unwrap();
    write!(
        file,
        "[req]\ndistinguished_name=name\nx509_extensions=ext\nprompt=no\n[name]\nCN=feed\n\
         [ext]\nsubjectAltName=IP:127.0.0.1\nbasicConstraints=critical,CA:FALSE\n"
    )
    .unwrap();
    let path = |path: &Path| path.display().to_string();
    let args = [
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "2",
        "-config",
        &path(&config),
        "-keyout",
        &path(&key),
        "-out",
        &path(&certificate),
    ];
    super::lab::netns::call("openssl", &args).unwrap();
    (certificate, key)
}
