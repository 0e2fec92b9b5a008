//! The numbers for Prometheus, as a client and as Prometheus itself get them.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Child;

use crate::lab::netns::Variant;
use crate::lab::{Lab, each_chain, wait_until};

const PORT: u16 = 9109;

/// What the endpoint answers to a request, with its head.
fn ask(lab: &Lab, request: &str) -> String {
    lab.netns.enter(|| {
        let mut stream = TcpStream::connect(("127.0.0.1", PORT)).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    })
}

fn metrics(lab: &Lab) -> String {
    let answer = ask(lab, "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4"), "{head}");
    assert!(head.contains(&format!("Content-Length: {}", body.len())), "{head}");
    body.to_owned()
}

fn says(text: &str, line: &str) -> bool {
    text.lines().any(|there| there == line)
}

#[test]
fn the_endpoint_tells_what_happened_and_nothing_else() {
    each_chain(|mut lab| {
        lab.set("metrics.port", PORT);
        lab.start();
        lab.attack_and_block("221.121.138.167");
        lab.console("block 2001:db8:7::/64");
        lab.tool("iptables", "-F sipban-udp").unwrap();
        wait_until("the repair", || says(&metrics(&lab), "sipban_repairs_total 1"));
        let text = metrics(&lab);
        for line in [
            "sipban_ami_up 1.0",
            "sipban_events_total{event=\"InvalidAccountID\"} 1",
            "sipban_blocks{origin=\"local\",reason=\"Invalid Account\",family=\"ipv4\"} 1.0",
            "sipban_blocks{origin=\"console\",reason=\"Manual block\",family=\"ipv6\"} 1.0",
            "sipban_blocks_total{reason=\"Invalid Account\"} 1",
            "sipban_refused 0.0",
            "sipban_batch_changes_count 2",
            "sipban_enforcing_seconds_count 2",
        ] {
            assert!(says(&text, line), "{line}\n{text}");
        }
        for (request, status) in [
            ("GET / HTTP/1.1\r\n\r\n", "404"),
            ("POST /metrics HTTP/1.1\r\n\r\n", "405"),
            ("block 192.0.2.1\r\n\r\n", "400"),
        ] {
            assert!(ask(&lab, request).starts_with(&format!("HTTP/1.1 {status} ")), "{request}");
        }
        assert!(!lab.is_blocked("192.0.2.1"));
    });
}

#[test]
fn packets_that_the_kernel_dropped_are_told_where_it_counts_them_together() {
    let Some(mut lab) = Lab::new(Variant::Nft) else { return };
    lab.set("metrics.port", PORT);
    lab.set("iptables.backend", "nft");
    lab.start();
    assert!(says(&metrics(&lab), "sipban_dropped_packets_total{origin=\"local\"} 0"));
    lab.stop();
    lab.set("iptables.backend", "iptables");
    lab.start();
    assert!(!metrics(&lab).contains("sipban_dropped_packets_total"));
}

#[test]
fn clients_that_ask_nothing_hold_up_no_block_and_are_bounded() {
    each_chain(|mut lab| {
        lab.set("metrics.port", PORT);
        lab.start();
        let idle: Vec<TcpStream> =
            lab.netns.enter(|| (0..64).map(|_| TcpStream::connect(("127.0.0.1", PORT)).unwrap()).collect());
        lab.attack_and_block("221.121.138.167");
        let threads = || {
            let status = fs::read_to_string(format!("/proc/{}/status", lab.pid())).unwrap();
            let threads = status.lines().find_map(|line| line.strip_prefix("Threads:")).unwrap().trim();
            threads.parse::<usize>().unwrap()
        };
        assert!(threads() < 24, "{}", threads());
        drop(idle);
        wait_until("an answer", || ask(&lab, "GET /metrics HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 200 "));
    });
}

#[test]
fn the_file_for_node_exporter_is_there_and_whole() {
    each_chain(|mut lab| {
        let file = lab.path("sipban.prom");
        lab.set("metrics.file", file.display());
        lab.start();
        wait_until("the file", || file.exists());
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.starts_with("# HELP sipban_") && text.ends_with('\n'), "{text}");
    });
}

#[test]
#[ignore = "needs Prometheus: make test-metrics"]
fn prometheus_finds_no_fault_and_scrapes_it() {
    each_chain(|mut lab| {
        lab.set("metrics.port", PORT);
        lab.start();
        lab.attack_and_block("221.121.138.167");
        fs::write(lab.path("text"), metrics(&lab)).unwrap();
        let mut promtool = lab.program("promtool");
        promtool.args(["check", "metrics"]).stdin(fs::File::open(lab.path("text")).unwrap());
        let lint = promtool.output().unwrap();
        assert!(lint.status.success() && lint.stdout.is_empty() && lint.stderr.is_empty(), "{lint:?}");

        let alerts = concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/metrics/alerts.yml");
        let yaml = format!(
            "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\nrule_files: [{alerts}]\n\
             scrape_configs: [{{job_name: sipban, static_configs: [{{targets: ['127.0.0.1:{PORT}']}}]}}]\n"
        );
        fs::write(lab.path("prometheus.yml"), yaml).unwrap();
        let _prometheus = Ended(lab.netns.enter(|| {
            let mut prometheus = lab.program("prometheus");
            prometheus.arg(format!("--config.file={}", lab.path("prometheus.yml").display()));
            prometheus.arg(format!("--storage.tsdb.path={}", lab.path("tsdb").display()));
            prometheus.args(["--web.listen-address=127.0.0.1:9090", "--log.level=error"]).spawn().unwrap()
        }));
        let query = |expression: &str| {
            let url = format!("http://127.0.0.1:9090/api/v1/query?query={expression}");
            let mut curl = lab.program("curl");
            let answer = lab.netns.enter(|| curl.args(["--silent", "--globoff", &url]).output().unwrap());
            String::from_utf8(answer.stdout).unwrap()
        };
        wait_until("a scrape", || query("sipban_blocks_total").contains("\"reason\":\"Invalid Account\""));
        assert!(query("sipban_ami_up").contains(",\"1\"]"), "{}", query("sipban_ami_up"));
        // The rules are of use: one is pending when the daemon is gone, and none before.
        assert!(query("count(ALERTS)%20or%20vector(0)").contains(",\"0\"]"));
        lab.signal(nix::sys::signal::Signal::SIGKILL);
        wait_until("an alert", || query("ALERTS").contains("SipbanGone"));
    });
}

/// A program that ends with the test.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
