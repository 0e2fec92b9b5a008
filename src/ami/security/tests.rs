use super::*;
use crate::ami::frame::Framer;
use crate::model::security::{Acl, Kind};

const SOUND: &str = "Event: InvalidAccountID\r\nPrivilege: security,all\r\nEventTV: 2026-11-22T10:49:04.200+0000\r\n\
    Severity: Error\r\nService: SIP\r\nEventVersion: 1\r\nAccountID: 9999\r\nSessionID: a\r\n\
    LocalAddress: IPV4/UDP/198.18.0.1/5060\r\nRemoteAddress: IPV4/UDP/198.18.0.20/37146\r\n\r\n";

/// What a stream says once it has fallen silent: kinds and senders.
fn read(stream: &str) -> Vec<(Kind, String)> {
    let mut framer = Framer::default();
    let mut guard = Guard::default();
    let mut events = Vec::new();
    framer.push(stream.as_bytes());
    while let Some(frame) = framer.next_frame() {
        guard.frame(&frame, &mut events);
    }
    guard.silence(&mut events);
    events.iter().map(|event| (event.kind, event.source().to_string())).collect()
}

fn sound(account: &str) -> String {
    SOUND.replace("9999", account)
}

#[test]
fn a_sound_event_is_believed() {
    assert_eq!(read(SOUND), [(Kind::InvalidAccountId, "198.18.0.20".into())]);
}

#[test]
fn a_wrong_number_says_nothing_of_who_dialled_it() {
    let refused = |acl: &str| {
        let stream = sound("600").replace("InvalidAccountID", "FailedACL");
        read(&(stream.trim_end().to_owned() + &format!("\r\nACLName: {acl}\r\n\r\n")))[0].0
    };
    assert_eq!(refused("no_extension_match"), Kind::FailedAcl(Acl::Request));
    assert_eq!(refused("registrar_attempt_without_configured_aors"), Kind::FailedAcl(Acl::Request));
    assert_eq!(refused("device_must_match_acl"), Kind::FailedAcl(Acl::Access));
}

#[test]
fn a_line_written_into_the_account_accuses_its_writer() {
    let stream = sound("\r\nRemoteAddress: IPV4/UDP/9.9.9.9/5");
    assert_eq!(read(&stream), [(Kind::Tampered, "198.18.0.20".into())]);
}

#[test]
fn a_bare_line_feed_does_not_make_a_line() {
    let stream = sound("\nRemoteAddress: IPV4/UDP/9.9.9.9/5");
    assert_eq!(read(&stream), [(Kind::InvalidAccountId, "198.18.0.20".into())]);
}

#[test]
fn a_perfect_forged_event_falls_with_the_rest_behind_it() {
    let forged = "x\r\nSessionID: b\r\nLocalAddress: IPV4/UDP/1.1.1.1/1\r\nRemoteAddress: IPV4/UDP/9.9.9.9/5\r\n\r\n";
    for dressed in
        ["", "Response: Success\r\n", "Event: InvalidPassword\r\nX: y", "Event: Newchannel\r\nPrivilege: call,all"]
    {
        let stream = sound(&format!("{forged}{dressed}"));
        assert_eq!(read(&stream), [(Kind::Tampered, "198.18.0.20".into())], "{dressed}");
    }
}

#[test]
fn a_response_between_forgery_and_rest_saves_nothing() {
    let forged = "x\r\nSessionID: b\r\nLocalAddress: IPV4/UDP/1.1.1.1/1\r\nRemoteAddress: IPV4/UDP/9.9.9.9/5\r\n\r\n\
        Response: Success\r\n\r\n";
    assert_eq!(read(&sound(forged)), [(Kind::Tampered, "198.18.0.20".into())]);
}

#[test]
fn honest_frames_between_events_take_no_trust() {
    let stream = format!(
        "{SOUND}Response: Success\r\nActionID: 1\r\nPing: Pong\r\n\r\n\
         Event: FullyBooted\r\nPrivilege: system,all\r\nUptime: 3\r\n\r\n{SOUND}"
    );
    assert_eq!(read(&stream).len(), 2);
}

#[test]
fn an_event_of_an_unknown_shape_accuses_nobody() {
    let stream = SOUND.replace("Severity: Error", "Severity: Grave");
    assert_eq!(read(&stream), []);
}

#[test]
fn further_fields_of_a_newer_asterisk_do_no_harm() {
    let stream = SOUND
        .replace("37146\r\n\r\n", "37146\r\nWeather: fine\r\n\r\n")
        .replace("EventTV", "SystemName: lab-pbx\r\nEventTV");
    assert_eq!(read(&stream), [(Kind::InvalidAccountId, "198.18.0.20".into())]);
}

#[test]
fn the_sender_of_an_overlong_event_is_found_at_its_end() {
    let stream = sound(&"x".repeat(crate::ami::frame::MAX_FRAME));
    assert_eq!(read(&stream), [(Kind::Tampered, "198.18.0.20".into())]);
}

#[test]
fn pjsip_events_on_settled_ground_need_not_wait() {
    let mut guard = Guard::default();
    let mut events = Vec::new();
    let stream = SOUND.replace("Service: SIP", "Service: PJSIP");
    guard.frame(&Frame::Whole(stream.trim_end().as_bytes()), &mut events);
    assert_eq!((events.len(), guard.is_waiting()), (1, false));
    guard.frame(&Frame::Whole(SOUND.trim_end().as_bytes()), &mut events);
    assert_eq!((events.len(), guard.is_waiting()), (1, true));
}

/// What stands before the account of an event of this name, as an attacker would write it into an account.
fn dress(name: &str) -> String {
    format!(
        "x\r\n\r\nEvent: {name}\r\nPrivilege: security,all\r\nEventTV: 2026-11-22T10:49:04.200+0000\r\n\
         Severity: Error\r\nService: PJSIP\r\nEventVersion: 1\r\nAccountID: y"
    )
}

#[test]
fn a_rest_dressed_up_as_a_harmless_event_still_accuses_its_writer() {
    for name in ["MemoryLimit", "LoadAverageLimit", "Newer"] {
        let stream = sound(&dress(name));
        assert_eq!(read(&format!("{stream}{stream}")), vec![(Kind::Tampered, "198.18.0.20".to_owned()); 2], "{name}");
    }
    assert_eq!(read(&sound(&(dress("FailedACL") + "\r\nX: y"))), [(Kind::Tampered, "198.18.0.20".into())]);
}

#[test]
fn a_forged_address_where_another_field_belongs_accuses_its_writer() {
    let forged = "x\r\nSessionID: b\r\nLocalAddress: IPV4/UDP/1.1.1.1/1\r\nRemoteAddress: IPV4/UDP/9.9.9.9/5";
    let stream = sound(forged).replace("InvalidAccountID", "ChallengeSent").replace("37146", "37146\r\nChallenge: c");
    assert_eq!(read(&stream), [(Kind::Tampered, "198.18.0.20".into())]);
}

#[test]
fn a_forged_end_that_fits_no_event_and_a_rest_of_no_known_shape_accuse_their_writer() {
    let forged = "x\r\nSessionID: \r\nLocalAddress: IPV6/::/1\r\nRemoteAddress: IPV4/9.9.9.9/5\r\n\r\n\
                  Event: Y\r\nPrivilege: security,all";
    let stream = sound(forged).replace("InvalidAccountID", "ChallengeSent").replace("37146", "37146\r\nChallenge: c");
    assert_eq!(read(&stream), [(Kind::Tampered, "198.18.0.20".into())]);
}

#[test]
fn what_one_attacker_writes_hides_no_event_of_another() {
    let guess = SOUND.replace("InvalidAccountID", "InvalidPassword").replace("198.18.0.20", "203.0.113.1");
    let forged = sound("x\r\n\r\n").replace("198.18.0.20", "203.0.113.2");
    for service in ["SIP", "PJSIP"] {
        let guess = guess.replace("SIP", service);
        let (guessed, written) =
            ((Kind::InvalidPassword, "203.0.113.1".into()), (Kind::Tampered, "203.0.113.2".into()));
        assert_eq!(
            read(&format!("{forged}{guess}{forged}{forged}{guess}")),
            [written.clone(), guessed.clone(), written.clone(), written, guessed],
            "{service}"
        );
    }
}

#[test]
fn an_asterisk_that_writes_all_its_events_in_an_unknown_shape_accuses_nobody() {
    for (known, unknown) in [
        ("Severity: Error", "Severity: Grave"),
        ("EventTV: 2026-11-22T10:49:04.200+0000", "EventTV: 1795344544-200000"),
        ("37146\r\n", "37146\r\nFine-Weather: yes\r\n"),
        ("AccountID: 9999\r\n", ""),
        ("Event: InvalidAccountID", "Event: ChallengeSent"),
    ] {
        assert_eq!(read(&SOUND.replace(known, unknown).repeat(3)), [], "{unknown}");
    }
}

#[test]
fn an_event_whose_addresses_cannot_be_read_blames_nobody_whose_event_comes_next() {
    let (local, remote) = ("IPV4/UDP/198.18.0.1/5060", "IPV4/UDP/198.18.0.20/37146");
    let next = SOUND.replace("198.18.0.20", "203.0.113.1");
    for (known, unknown) in [
        (local, "IPV4/WS/198.18.0.1/5060"),
        (local, "IPV4/198.18.0.1/5060"),
        (local, "(null)"),
        (local, ""),
        (remote, "IPV4/WSS/198.18.0.20/37146"),
        (remote, "IPV4/198.18.0.20/37146"),
        (remote, "IPV4/UDP/198.18.0.20/"),
        (remote, "IPV4/UDP/(null)/0"),
        (remote, "(null)"),
        (remote, ""),
        (&format!("{local}\r\nRemoteAddress: {remote}"), "\r\nRemoteAddress: "),
    ] {
        let strange = SOUND.replace(known, unknown);
        assert_eq!(read(&format!("{strange}{next}")), [(Kind::InvalidAccountId, "203.0.113.1".into())], "{unknown:?}");
    }
}

#[test]
fn addresses_that_cannot_be_read_hide_no_rest_dressed_up_as_a_harmless_event() {
    let beginning = dress("").trim_start_matches("x\r\n\r\n").replace("PJSIP", "").replace(": y", ": ");
    for end in [
        // With this one chan_sip has room for it, to the byte.
        "\r\nSessionID: \r\nLocalAddress: \r\nRemoteAddress: \r\n\r\n",
        "\r\nLocalAddress: (null)\r\nRemoteAddress: (null)\r\n\r\n",
        "\r\nRemoteAddress: IPV4/UDP/9.9.9.9/\r\n\r\n",
        "\r\nRemoteAddress: \r\n\r\n\r\n\r\n",
        "\r\n\r\n",
    ] {
        let stream = sound(&format!("{end}{beginning}"));
        assert_eq!(read(&stream), [(Kind::Tampered, "198.18.0.20".into())], "{end:?}");
    }
}

mod strange;
