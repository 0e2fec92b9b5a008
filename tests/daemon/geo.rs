//! Where addresses are: in what the console says, and as a matter of patience.

use std::fs;

use nix::sys::signal::Signal;

use crate::lab::netns::Variant;
use crate::lab::{Lab, event, wait_until};
use crate::mmdb::{country, database, operator};

const MEXICAN: &str = "203.0.113.7";
const FRENCH: &str = "198.51.100.7";

/// A machine that knows these countries.
fn with_countries(countries: &[(&str, &'static str)]) -> Option<Lab> {
    let mut lab = Lab::new(Variant::Nft)?;
    put(&lab, countries);
    let operators = [("198.51.100.0/24", operator(64500, "Example"))];
    fs::write(lab.path("network.mmdb"), database("GeoLite2-ASN", &operators)).unwrap();
    lab.set("geo.country", lab.path("country.mmdb").display());
    lab.set("geo.network", lab.path("network.mmdb").display());
    Some(lab)
}

fn put(lab: &Lab, countries: &[(&str, &'static str)]) {
    let countries: Vec<_> = countries.iter().map(|(net, code)| (*net, country(code))).collect();
    // As geoipupdate does.
    fs::write(lab.path("new"), database("GeoLite2-Country", &countries)).unwrap();
    fs::rename(lab.path("new"), lab.path("country.mmdb")).unwrap();
}

fn guess(lab: &Lab, address: &str) {
    lab.say(event(
        "ChallengeResponseFailed",
        "Error",
        "100",
        address,
        &format!("1-{address}"),
        "Challenge: \r\nResponse: \r\nExpectedResponse: \r\n",
    ));
}

#[test]
fn a_stranger_from_elsewhere_has_no_patience_and_the_console_says_where_he_is() {
    let Some(mut lab) = with_countries(&[("203.0.113.0/24", "MX"), ("198.51.100.0/24", "FR")]) else { return };
    lab.set("limits.countries", "MX, US");
    lab.start();
    guess(&lab, MEXICAN);
    guess(&lab, FRENCH);
    lab.wait_for_log(&format!("BLOCK => {FRENCH} (Challenge Failed)"));
    assert!(!lab.is_blocked(MEXICAN));
    let place = format!("{FRENCH} (Challenge Failed) FR, AS64500 Example");
    assert!(lab.console("block").trim_end().ends_with(&place), "{}", lab.console("block"));
    assert!(lab.console("block --json").contains("\"country\":\"FR\""), "{}", lab.console("block --json"));
    assert!(lab.console("top").contains("       1  FR, AS64500 Example\n"), "{}", lab.console("top"));
    assert!(lab.console("top --json").contains("\"places\":{\"198.51.100.7\":{\"country\":\"FR\""));
    let why = "Where        FR, AS64500 Example, none of limits.countries: no patience\n";
    assert!(lab.console(&format!("why {FRENCH}")).contains(why), "{}", lab.console(&format!("why {FRENCH}")));
    assert!(lab.console(&format!("why {MEXICAN}")).contains("Where        MX\n"));
    assert!(lab.console(&format!("why --json {MEXICAN}")).contains("\"country\":\"MX\""));
}

#[test]
fn a_reload_reads_the_files_that_lie_there_now() {
    let Some(mut lab) = with_countries(&[("203.0.113.0/24", "MX")]) else { return };
    lab.start();
    let is_in =
        |lab: &Lab, code: &str| lab.console(&format!("why {MEXICAN}")).contains(&format!("Where        {code}\n"));
    assert!(is_in(&lab, "MX"));
    put(&lab, &[("203.0.113.0/24", "US")]);
    lab.signal(Signal::SIGHUP);
    wait_until("the new file", || is_in(&lab, "US"));
    fs::write(lab.path("country.mmdb"), "<html>").unwrap();
    lab.signal(Signal::SIGHUP);
    lab.wait_for_log("is no database of MaxMind's format, or damaged");
    assert_eq!(lab.logged("ERROR => geo.country: "), 1, "{}", lab.log());
    assert!(is_in(&lab, "US"));
}

#[test]
fn a_bad_file_stops_the_start_and_is_named() {
    let Some(lab) = with_countries(&[]) else { return };
    fs::write(lab.path("country.mmdb"), "<html>").unwrap();
    let output = lab.run(&[]);
    assert_eq!(output.status.code(), Some(78));
    let said = String::from_utf8(output.stderr).unwrap();
    let start = format!("sipban: geo.country: {}: is no database of MaxMind's", lab.path("country.mmdb").display());
    assert!(said.starts_with(&start), "{said}");
}
