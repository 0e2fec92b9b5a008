//! `sipban stats` as its users meet it: log files in, text, JSON or CSV out.

#[path = "common/mmdb.rs"]
mod mmdb;

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use tempfile::TempDir;

use mmdb::{country, database, operator};

/// A folder of logs and a configuration that names `sipban.log` in it.
struct Bed(TempDir);

impl Bed {
    fn new() -> Bed {
        let bed = Bed(tempfile::tempdir().unwrap());
        let config = format!("[ami]\nuser = a\npass = b\n[log]\nfile = {}\n", bed.path("sipban.log").display());
        fs::write(bed.path("sipban.conf"), config).unwrap();
        bed
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn log(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        if name.ends_with(".gz") {
            let mut file = GzEncoder::new(File::create(&path).unwrap(), Compression::fast());
            file.write_all(text.as_ref()).unwrap();
            file.finish().unwrap();
        } else {
            fs::write(&path, text).unwrap();
        }
        path
    }

    fn stats(&self, args: &[&str]) -> Command {
        let mut command = Command::cargo_bin("sipban").unwrap();
        command.arg("-c").arg(self.path("sipban.conf")).arg("stats").args(args);
        command.env("COLUMNS", "80").env("LC_ALL", "C");
        command
    }

    fn json(&self, args: &[&str]) -> Value {
        let output = self.stats(&[&["--json"], args].concat()).assert().success().get_output().stdout.clone();
        serde_json::from_slice(&output).unwrap()
    }

    fn text(&self, args: &[&str]) -> String {
        String::from_utf8(self.stats(args).assert().success().get_output().stdout.clone()).unwrap()
    }
}

const OLD: &str = "\
[2019-06-12 12:01:50] SipBan Start
[2019-06-12 12:01:50] WHITE LIST => 127.0.0.1
[2019-06-12 12:01:55] BLOCK => 221.121.138.167
[2019-06-12 12:01:59] BLOCK => 77.247.110.158
[2019-06-12 13:02:01] BLOCK => 77.247.110.15
";

const MIDDLE: &str = "\
[2019-06-13 12:01:55] UNBLOCK => 221.121.138.167 (Timeout Unblock)
[2019-06-13 12:02:00] BLOCK => 221.121.138.167 (Invalid Account)
[2019-06-13 12:02:01] AMI => lost (Asterisk closed the connection), retry in 1 s
[2019-06-13 12:02:02] AMI => connected (Asterisk Call Manager/11.0.0)
[2019-06-13 12:02:03] REPAIR => jump to sipban-udp in INPUT (IPv4), missing for 10 s at most
[2019-06-13 12:02:04] ERROR => no space left on device
[2019-06-13 12:02:05] WHITE LIST => 192.0.2.7 not blocked (Invalid Password): 192.0.2.0/24
[2019-06-13 12:07:05] PBX => accepts its phones again, after 300 s; 42 failures meanwhile count for nothing
[2019-06-13 12:07:06] SHED => 203.0.113.7 (70 packets too many in 10 s)
[2019-06-13 12:07:16] SHED => 203.0.113.7 has stopped (90 packets too many in all)
[2019-06-13 12:07:17] SHED => 2001:db8::/64 (5 connections too many in 10 s, and would lose them)
[2019-06-13 21:42:59] AMI => lost (Asterisk closed the connection), retry in 1 s
";

const NEW: &str = "\
[2019-06-15 00:00:00] BLOCK => 2001:db8::/64 (Challenge Sent)
[2019-06-15 23:59:59] BLOCK => 221.121.138.167 (Invalid Account)
[2019-06-15 23:59:59] BLOCK => 198.51.100.0/24 (Manual block)
";

fn three_logs(bed: &Bed) {
    bed.log("sipban.log.2.gz", OLD);
    bed.log("sipban.log.1", MIDDLE);
    bed.log("sipban.log", NEW);
    bed.log("sipban.log.old", "[2019-06-15 00:00:00] BLOCK => 192.0.2.1\n");
}

#[test]
fn the_log_and_its_rotations_are_counted_to_the_last_line() {
    let bed = Bed::new();
    three_logs(&bed);
    let report = bed.json(&[]);
    let mut by_hour = [0; 24];
    (by_hour[0], by_hour[12], by_hour[13], by_hour[23]) = (1, 3, 1, 2);
    let mut by_week = [[0; 24]; 7];
    (by_week[2][12], by_week[2][13], by_week[3][12], by_week[5][0], by_week[5][23]) = (2, 1, 1, 1, 2);
    let expected = json!({
        "files": 3, "lines": 20, "malformed": 0,
        "first": "2019-06-12 12:01:50", "last": "2019-06-15 23:59:59",
        "blocks": 7, "addresses": 5, "repeat_offenders": { "addresses": 1, "blocks": 3 },
        "unblocks": 1, "repairs": 1, "errors": 1, "protected": 1, "ami_lost": 2, "starts": 1,
        "silence": {
            "times": 2, "seconds": 181_021,
            "longest": { "from": "2019-06-13 21:42:59", "to": "2019-06-15 23:59:59" },
        },
        "bad_weather": { "times": 1, "seconds": 300, "spared": 42 },
        "shield": { "times": 1, "packets": 70, "counted": 1 },
        "lacking": 0, "networks_lacking": 0,
        "by_hour": by_hour, "by_week": by_week,
        "by_day": [
            { "day": "2019-06-12", "blocks": 3 },
            { "day": "2019-06-13", "blocks": 1 },
            { "day": "2019-06-15", "blocks": 3 },
        ],
        "by_reason": [
            { "reason": "(none given)", "blocks": 3 },
            { "reason": "Invalid Account", "blocks": 2 },
            { "reason": "Challenge Sent", "blocks": 1 },
            { "reason": "Manual block", "blocks": 1 },
        ],
        "by_member": [],
        "by_country": [],
        "by_operator": [],
        "top_addresses": [
            { "address": "221.121.138.167", "blocks": 3, "first": "2019-06-12 12:01:55", "last": "2019-06-15 23:59:59" },
            { "address": "77.247.110.15", "blocks": 1, "first": "2019-06-12 13:02:01", "last": "2019-06-12 13:02:01" },
            { "address": "77.247.110.158", "blocks": 1, "first": "2019-06-12 12:01:59", "last": "2019-06-12 12:01:59" },
            { "address": "198.51.100.0/24", "blocks": 1, "first": "2019-06-15 23:59:59", "last": "2019-06-15 23:59:59" },
            { "address": "2001:db8::/64", "blocks": 1, "first": "2019-06-15 00:00:00", "last": "2019-06-15 00:00:00" },
        ],
        "top_networks": [{
            "network": "77.247.110.0/24", "blocks": 2, "addresses": 2,
            "first": "2019-06-12 12:01:59", "last": "2019-06-12 13:02:01",
        }],
    });
    for (key, expected) in expected.as_object().unwrap() {
        assert_eq!(report[key], *expected, "{key}");
    }
    assert_eq!(report.as_object().unwrap().len(), expected.as_object().unwrap().len());
}

#[test]
fn text_fits_eighty_columns_and_shows_empty_days() {
    let bed = Bed::new();
    three_logs(&bed);
    let text = bed.text(&[]);
    assert!(text.lines().all(|line| line.chars().count() <= 80 && !line.ends_with(' ')), "{text}");
    assert!(text.starts_with("20 lines of 3 files, from 2019-06-12 12:01:50 to 2019-06-15 23:59:59\n"), "{text}");
    for line in [
        "  7 blocks of 5 addresses",
        "  3 of these were of 1 address blocked more than once",
        "  1 error",
        "  2019-06-14 Fri  0",
        "  01  0",
        "  77.247.110.0/24          2  2019-06-12  2019-06-12",
    ] {
        assert!(text.contains(&format!("{line}\n")), "{line}\n{text}");
    }
    assert!(text.lines().any(|line| line.starts_with("  2019-06-12 Wed  3 ####") && line.len() > 75), "{text}");
    let narrow = bed.stats(&[]).env("COLUMNS", "50").assert().success().get_output().stdout.clone();
    let narrow = String::from_utf8(narrow).unwrap();
    assert!(narrow.lines().filter(|line| line.contains('#')).all(|line| line.len() <= 50), "{narrow}");
}

#[test]
fn blocks_because_other_pbxs_said_so_are_counted_by_who_said_so_and_apart() {
    let bed = Bed::new();
    bed.log(
        "sipban.log",
        "[2026-06-15 00:00:00] FLEET => 192.0.2.1 blocked (Failed ACL, says pbx2, pbx3)\n\
         [2026-06-15 00:00:00] FLEET => 192.0.2.2 blocked (Failed ACL, says pbx3)\n\
         [2026-06-15 00:00:01] FLEET => 192.0.2.2 freed (Withdrawn)\n",
    );
    let report = bed.json(&[]);
    assert_eq!(report["by_member"], json!([{ "name": "pbx3", "blocks": 2 }, { "name": "pbx2", "blocks": 1 }]));
    assert_eq!((&report["blocks"], &report["malformed"]), (&json!(0), &json!(0)));
    let text = bed.text(&[]);
    assert!(text.contains("\nBlocks because other PBXs said so\n  pbx3  2 ####"), "{text}");
    assert!(bed.text(&["--csv"]).contains("\nmember,pbx3,2,,,\n"));
}

#[test]
fn many_days_are_shown_by_month_and_the_last_ones_by_day() {
    let bed = Bed::new();
    let line = |month, day| format!("[2026-{month:02}-{day:02} 10:00:00] BLOCK => 192.0.2.1 (Failed ACL)\n");
    let log: String = (1..=3).flat_map(|month| (1..=28).map(move |day| line(month, day))).collect();
    bed.log("sipban.log", log);
    let text = bed.text(&["--days", "3"]);
    assert!(text.contains("\n  2026-01  28 #") && text.contains("\n  2026-03  28 #"), "{text}");
    assert!(text.contains("Blocks of the last 3 days\n  2026-03-26 Thu  1 #"), "{text}");
    assert!(!text.contains("2026-03-25"), "{text}");
}

#[test]
fn the_page_needs_nothing_but_itself_and_runs_nothing() {
    let bed = Bed::new();
    three_logs(&bed);
    let page = bed.path("page.html");
    assert_eq!(bed.text(&["--html", page.to_str().unwrap()]), "");
    let html = fs::read_to_string(&page).unwrap();
    assert!(html.starts_with("<!DOCTYPE html>") && html.ends_with("</html>"), "{html}");
    for lacking in ["<script", "src=", "url(", "@import", "http:", "https:"] {
        let found = html.replace("xmlns=\"http://www.w3.org/2000/svg\"", "").contains(lacking);
        assert!(!found, "{lacking}");
    }
    for told in ["221.121.138.167, 3 times", "7 blocks in 4 days", "77.247.110.0/24", "2 days 2 h", "42</strong>"] {
        assert!(html.contains(told), "{told}\n{html}");
    }
    let linked = html.split("href=\"#").skip(1).filter_map(|rest| rest.split('"').next());
    assert_eq!(
        linked.inspect(|id| assert!(html.contains(&format!("id=\"{id}\"")))).count(),
        html.matches("<svg ").count()
    );
    assert_eq!(fs::metadata(&page).unwrap().permissions().mode() & 0o777, 0o644);
}

#[test]
fn a_page_that_cannot_be_written_is_named_and_one_without_a_block_is_no_error() {
    let bed = Bed::new();
    bed.log("sipban.log", "[2019-06-12 12:01:50] SipBan Start\n");
    let output = bed.stats(&["--html", "/no/such/folder/page.html"]).assert().code(73).get_output().clone();
    assert!(String::from_utf8(output.stderr).unwrap().contains("/no/such/folder/page.html: cannot write the page: "));
    let page = bed.path("page.html");
    bed.text(&["--html", page.to_str().unwrap()]);
    assert!(fs::read_to_string(&page).unwrap().contains("Nobody was blocked."));
}

#[test]
fn csv_has_a_row_for_every_number() {
    let bed = Bed::new();
    three_logs(&bed);
    let csv = bed.text(&["--csv", "--top", "1"]);
    assert!(csv.lines().all(|line| line.matches(',').count() == 5), "{csv}");
    for line in [
        "table,key,count,addresses,first,last",
        "total,blocks,7,5,2019-06-12 12:01:50,2019-06-15 23:59:59",
        "total,repeat offenders,3,1,,",
        "hour,12,3,,,",
        "day,2019-06-15,3,,,",
        "reason,(none given),3,,,",
        "address,221.121.138.167,3,,2019-06-12 12:01:55,2019-06-15 23:59:59",
        "network,77.247.110.0/24,2,2,2019-06-12 12:01:59,2019-06-12 13:02:01",
    ] {
        assert!(csv.contains(&format!("{line}\n")), "{line}\n{csv}");
    }
    assert_eq!(csv.matches("\naddress,").count(), 1);
}

#[test]
fn countries_and_operators_are_told_where_their_files_are_configured() {
    let bed = Bed::new();
    three_logs(&bed);
    let countries = [("221.121.138.0/24", country("ID")), ("77.247.110.0/24", country("EE"))];
    let operators = [("77.247.110.0/24", operator(64500, "Example, \"Inc\" <b>"))];
    fs::write(bed.path("country.mmdb"), database("GeoLite2-Country", &countries)).unwrap();
    fs::write(bed.path("network.mmdb"), database("GeoLite2-ASN", &operators)).unwrap();
    let config = fs::read_to_string(bed.path("sipban.conf")).unwrap();
    let (country, network) = (bed.path("country.mmdb"), bed.path("network.mmdb"));
    let geo = format!("{config}[geo]\ncountry = {}\nnetwork = {}\n", country.display(), network.display());
    fs::write(bed.path("sipban.conf"), geo).unwrap();

    let report = bed.json(&[]);
    assert_eq!(
        report["by_country"],
        json!([
            { "name": "ID", "blocks": 3, "addresses": 1 },
            { "name": "(not known)", "blocks": 2, "addresses": 2 },
            { "name": "EE", "blocks": 2, "addresses": 2 },
        ])
    );
    assert_eq!(
        report["by_operator"][1],
        json!({ "name": "AS64500 Example, \"Inc\" <b>", "blocks": 2, "addresses": 2 })
    );
    assert!(bed.text(&[]).contains("\nBlocks by country\n  ID           3 "), "{}", bed.text(&[]));
    let csv = bed.text(&["--csv"]);
    for line in ["country,EE,2,2,,", "operator,\"AS64500 Example, \"\"Inc\"\" <b>\",2,2,,"] {
        assert!(csv.contains(&format!("\n{line}\n")), "{csv}");
    }
    let page = bed.path("page.html");
    bed.text(&["--html", page.to_str().unwrap()]);
    let page = fs::read_to_string(page).unwrap();
    assert!(page.contains("Most from ID, 3 blocks.") && page.contains("AS64500 Example, &quot;Inc&quot; &lt;b&gt;"));
    assert!(!page.contains("<b>"));

    fs::write(&country, "<html>").unwrap();
    let output = bed.stats(&[]).assert().code(66).get_output().clone();
    assert!(String::from_utf8(output.stdout).unwrap().contains("  7 blocks of 5 addresses\n"));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("no countries and operators are told: geo.country: "), "{said}");
}

#[test]
fn the_hour_that_comes_twice_and_the_one_that_never_comes_are_counted_as_they_were_written() {
    let bed = Bed::new();
    let lines = [
        "[2019-03-31 01:59:59] BLOCK => 192.0.2.1 (Failed ACL)",
        "[2019-03-31 03:00:00] BLOCK => 192.0.2.2 (Failed ACL)",
        "[2019-10-27 02:30:00] BLOCK => 192.0.2.3 (Failed ACL)",
        "[2019-10-27 02:59:59] BLOCK => 192.0.2.3 (Failed ACL)",
        "[2019-10-27 02:00:00] BLOCK => 192.0.2.3 (Failed ACL)",
        "[2019-10-27 03:00:00] BLOCK => 192.0.2.4 (Failed ACL)",
    ];
    bed.log("sipban.log", lines.join("\n"));
    let report = bed.json(&[]);
    let hours: Vec<u64> = report["by_hour"].as_array().unwrap()[1..4].iter().map(|n| n.as_u64().unwrap()).collect();
    assert_eq!(hours, [1, 3, 2]);
    assert_eq!(report["by_day"], json!([{ "day": "2019-03-31", "blocks": 2 }, { "day": "2019-10-27", "blocks": 4 }]));
    assert_eq!(report["top_addresses"][0]["first"], "2019-10-27 02:00:00");
    assert_eq!(report["top_addresses"][0]["last"], "2019-10-27 02:59:59");
    assert_eq!(report["malformed"], 0);
}

#[test]
fn garbage_is_counted_and_hides_nothing() {
    let bed = Bed::new();
    // A generator of bytes without any structure, newlines included.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut garbage = Vec::with_capacity(10 << 20);
    while garbage.len() < 10 << 20 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        garbage.extend_from_slice(&state.to_le_bytes());
    }
    garbage.extend_from_slice(b"\n");
    garbage.extend_from_slice(NEW.as_bytes());
    garbage.extend_from_slice(&vec![b'x'; 1 << 20]);
    let malformed = 1 + garbage[..10 << 20].iter().filter(|byte| **byte == b'\n').count() as u64;
    for name in ["sipban.log", "sipban.log.1.gz"] {
        let log = bed.log(name, &garbage);
        let report = bed.json(&[log.to_str().unwrap()]);
        assert_eq!((&report["lines"], &report["blocks"]), (&json!(3), &json!(3)));
        // The last line is one more.
        assert_eq!(report["malformed"], json!(malformed + 1));
    }
}

#[test]
fn a_log_cut_short_counts_up_to_there_and_is_named() {
    let bed = Bed::new();
    let log = bed.log("sipban.log.1.gz", OLD.repeat(1000));
    let packed = fs::read(&log).unwrap();
    fs::write(&log, &packed[..packed.len() / 2]).unwrap();
    bed.log("sipban.log", NEW);
    let output = bed.stats(&["--json"]).assert().code(66).get_output().clone();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(report["blocks"].as_u64().unwrap() > 3);
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert!(complaint.contains("sipban.log.1.gz: "), "{complaint}");
}

#[test]
fn what_cannot_be_read_is_named_and_the_rest_is_counted() {
    let bed = Bed::new();
    let good = bed.log("good", NEW);
    let packed = bed.log("packed", b"\xfd7zXZ\0whatever");
    let missing = bed.path("missing");
    let paths: Vec<&str> = [&good, &packed, &missing].iter().map(|path: &&PathBuf| path.to_str().unwrap()).collect();
    let output = bed.stats(&paths).assert().code(66).get_output().clone();
    assert!(String::from_utf8(output.stdout).unwrap().starts_with("3 lines of 1 file, "));
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert!(
        complaint.contains("missing: No such file") && complaint.contains("packed: is packed with xz"),
        "{complaint}"
    );
}

#[test]
fn without_a_log_it_says_which_one_it_looked_for() {
    let bed = Bed::new();
    let output = bed.stats(&[]).assert().code(66).get_output().clone();
    assert!(output.stdout.is_empty());
    assert!(String::from_utf8(output.stderr).unwrap().contains(bed.path("sipban.log").to_str().unwrap()));
}

#[test]
fn standard_input_may_be_gzipped_too() {
    let bed = Bed::new();
    for name in ["a", "a.gz"] {
        let log = fs::read(bed.log(name, OLD)).unwrap();
        let output = bed.stats(&["--json", "-"]).write_stdin(log).assert().success().get_output().stdout.clone();
        let report: Value = serde_json::from_slice(&output).unwrap();
        assert_eq!(report["blocks"], 3);
    }
}

#[test]
fn a_log_without_a_block_and_an_empty_one_are_no_error() {
    let bed = Bed::new();
    bed.log("sipban.log", "");
    assert_eq!(bed.text(&[]).lines().next(), Some("0 lines of 1 file"));
    bed.log("sipban.log", "[2019-06-12 12:01:50] SipBan Start\n");
    assert!(bed.text(&[]).contains("  1 start of the daemon\n"));
    assert!(bed.json(&[])["by_day"].as_array().unwrap().is_empty());
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let bed = Bed::new();
    three_logs(&bed);
    let full = Path::new("/dev/full");
    #[expect(clippy::disallowed_methods, reason = "its standard output is a pipe that nobody reads")]
    let run = |stdout: std::process::Stdio| {
        let mut command = std::process::Command::new(assert_cmd::cargo::cargo_bin("sipban"));
        let command = command.arg("-c").arg(bed.path("sipban.conf")).arg("stats").stdout(stdout);
        command.stderr(std::process::Stdio::piped()).output().unwrap()
    };
    let (reader, writer) = nix::unistd::pipe().unwrap();
    drop(reader);
    let closed = run(writer.into());
    assert!(closed.status.success() && closed.stderr.is_empty(), "{closed:?}");
    assert_eq!(run(File::create(full).unwrap().into()).status.code(), Some(74));
}
