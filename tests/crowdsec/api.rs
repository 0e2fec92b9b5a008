//! A local API that says what the test tells it to.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::lab::netns::Variant;
use super::lab::{Lab, wait_until};
use super::web::{Answer, Server, whole};

/// A machine to guard whose decisions come from this server.
fn lab(answer: Answer) -> Option<(Lab, Server)> {
    let mut lab = Lab::new(Variant::Nft)?;
    let server = lab.netns.enter(|| Server::start(answer));
    lab.set("iptables.backend", "nft");
    lab.set("crowdsec.url", server.url("/"));
    lab.set("crowdsec.every", 1);
    Some((lab, server))
}

fn stop(lab: &Lab, server: &Server) {
    lab.netns.enter(|| server.stop());
}

fn decisions(last: std::ops::Range<u8>) -> String {
    let one = |n: u8| {
        format!(
            r#"{{"id":{n},"origin":"x","type":"ban","scope":"Ip","value":"45.10.9.{n}","duration":"1h","scenario":"a/b"}}"#
        )
    };
    format!(r#"{{"new":[{}],"deleted":null}}"#, last.map(one).collect::<Vec<_>>().join(","))
}

const NOTHING: &str = r#"{"new":null,"deleted":null}"#;

#[test]
fn a_list_that_is_cut_short_frees_nobody() {
    let short = Arc::new(AtomicUsize::new(0));
    let times = Arc::clone(&short);
    let answer: Answer = Box::new(move |asked, stream| {
        let all = asked.path.ends_with("startup=true");
        // As valid JSON, as it does when its database fails.
        let is_short =
            all && times.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok();
        let text = if is_short { decisions(1..3) } else { decisions(1..10) };
        stream.write_all(&whole("200 OK", "", if all { text } else { NOTHING.to_owned() }))
    });
    let Some((mut lab, server)) = lab(answer) else { return };
    lab.set("crowdsec.key", "k");
    lab.start();
    lab.wait_for_log("FEED => crowdsec: 9 entries in force");
    assert!(lab.console("why 45.10.9.8").contains("held by crowdsec (45.10.9.8)"));
    lab.kill();
    short.store(1, Ordering::Relaxed);
    lab.start();
    lab.wait_for_log("CROWDSEC => the list lacks decisions that are held: nobody is freed");
    wait_until("another whole list", || {
        server.asked().iter().filter(|asked| asked.path.ends_with("startup=true")).count() == 3
    });
    lab.wait_for_log("FEED => crowdsec: 9 entries in force");
    assert!(lab.console("why 45.10.9.8").contains("held by crowdsec"));
    lab.kill();
    // A list that says so again is right.
    short.store(2, Ordering::Relaxed);
    lab.start();
    lab.wait_for_log("FEED => crowdsec: 2 entries in force");
    stop(&lab, &server);
}

#[test]
fn a_server_that_refuses_or_is_away_ends_nothing() {
    let away = Arc::new(AtomicUsize::new(0));
    let status = Arc::clone(&away);
    let answer: Answer = Box::new(move |asked, stream| {
        stream.write_all(&match status.load(Ordering::Relaxed) {
            0 if asked.path.ends_with("startup=true") => whole("200 OK", "", decisions(1..4)),
            0 => whole("200 OK", "", NOTHING),
            1 => whole("403 Forbidden", "", r#"{"message":"access forbidden"}"#),
            2 => b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{\"new\":[".to_vec(),
            _ => whole("200 OK", "", "{\"new\":[{}]}"),
        })
    });
    let Some((mut lab, server)) = lab(answer) else { return };
    lab.set("crowdsec.key", "k");
    lab.start();
    lab.wait_for_log("FEED => crowdsec: 3 entries in force");
    for (code, why) in
        [(1, "the server refuses the key"), (2, "the answer is cut short"), (3, "the answer is no list: missing field")]
    {
        away.store(code, Ordering::Relaxed);
        lab.wait_for_log(&format!("CROWDSEC => no decisions: {why}"));
        assert!(lab.console("why 45.10.9.3").contains("held by crowdsec"));
        assert!(lab.console("status").contains("crowdsec: 3 entries"));
    }
    away.store(0, Ordering::Relaxed);
    lab.wait_for_log("CROWDSEC => well again");
    stop(&lab, &server);
}

#[test]
fn reports_wait_for_a_server_that_is_away_and_are_sent_once_in_a_batch() {
    let refuses = Arc::new(AtomicUsize::new(1));
    let status = Arc::clone(&refuses);
    let answer: Answer = Box::new(move |asked, stream| {
        let text = match (&asked.path[..], status.load(Ordering::Relaxed)) {
            (_, 1) => whole("503 Busy", "", ""),
            ("/v1/watchers/login", _) => whole("200 OK", "", r#"{"code":200,"expire":"x","token":"t0ken"}"#),
            ("/v1/alerts", _) if asked.has("authorization: bearer t0ken") => whole("201 Created", "", r#"["1"]"#),
            _ => whole("401 Unauthorized", "", ""),
        };
        stream.write_all(&text)
    });
    let Some((mut lab, server)) = lab(answer) else { return };
    lab.set("crowdsec.machine", "pbx");
    lab.set("crowdsec.password", "getout");
    lab.start();
    assert_eq!(lab.console("block 45.10.8.1"), "45.10.8.1 block");
    for n in 1..=3 {
        lab.attack_and_block(&format!("45.10.9.{n}"));
    }
    lab.wait_for_log("blocks wait to be reported: the server answers 503 to a login");
    refuses.store(0, Ordering::Relaxed);
    lab.wait_for_log("CROWDSEC => takes reports again");
    let sent = |server: &Server| -> Vec<String> {
        let alerts = server.asked().into_iter().filter(|asked| asked.path == "/v1/alerts");
        alerts.map(|asked| asked.body).collect()
    };
    let bodies = sent(&server);
    assert_eq!(bodies.len(), 1, "{bodies:?}");
    assert_eq!(bodies[0].matches("\"scenario\":\"sipban/invalid-account\"").count(), 3, "{bodies:?}");
    assert!(!bodies[0].contains("45.10.8.1"), "what the administrator does is no evidence");
    lab.attack_and_block("45.10.9.4");
    wait_until("one more", || sent(&server).len() == 2);
    assert_eq!(server.asked().iter().filter(|asked| asked.path.ends_with("login")).count(), 1 + 1);
    stop(&lab, &server);
}

#[test]
fn what_is_not_configured_is_not_asked() {
    let answer: Answer = Box::new(|_, stream| stream.write_all(&whole("500 No", "", "")));
    let Some((mut lab, server)) = lab(answer) else { return };
    lab.start();
    lab.attack_and_block("45.10.9.1");
    lab.stop();
    assert!(server.asked().is_empty());
    stop(&lab, &server);
}
