//! The local API of the real CrowdSec, as Debian has it, alone on loopback of a network of the test's own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::lab::netns::{Netns, Variant, call};
use super::lab::{Lab, wait_until};

/// Where `tests/needs.sh test` unpacks it. It is not installed: it would be started, and call home.
const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/crowdsec/usr/bin");

/// A running CrowdSec, killed when dropped.
struct Crowdsec {
    folder: PathBuf,
    process: Child,
}

impl Crowdsec {
    /// `None`, loudly, where it is not unpacked.
    #[expect(clippy::disallowed_methods, reason = "the other side is a program")]
    #[expect(clippy::print_stderr, reason = "a test that did not run must be seen")]
    fn start(netns: &Netns, folder: &Path) -> Option<Crowdsec> {
        let program = Path::new(FOLDER).join("crowdsec");
        if !program.exists() {
            assert!(std::env::var_os("CI").is_none(), "{} is not there", program.display());
            eprintln!("SKIPPED: {} is not there: call tests/needs.sh test", program.display());
            return None;
        }
        fs::create_dir_all(folder.join("hub")).unwrap();
        let home = folder.display();
        fs::write(folder.join("hub/.index.json"), "{}").unwrap();
        fs::write(folder.join("simulation.yaml"), "simulation: off\n").unwrap();
        for empty in ["acquis.yaml", "credentials.yaml", "console.yaml"] {
            fs::write(folder.join(empty), "").unwrap();
        }
        let profile = "name: ban\nfilters:\n - Alert.Remediation == true\ndecisions:\n - type: ban\n   duration: 4h\n";
        fs::write(folder.join("profiles.yaml"), profile).unwrap();
        let config = format!(
            "common:\n  log_media: stdout\n  log_level: info\n\
             config_paths:\n  config_dir: {home}\n  data_dir: {home}\n  simulation_path: {home}/simulation.yaml\n  \
             hub_dir: {home}/hub\n  index_path: {home}/hub/.index.json\n  notification_dir: {home}/n\n  plugin_dir: {home}/p\n\
             crowdsec_service:\n  acquisition_path: {home}/acquis.yaml\n\
             cscli:\n  output: raw\n\
             db_config:\n  type: sqlite\n  db_path: {home}/db\n\
             api:\n  client:\n    credentials_path: {home}/credentials.yaml\n  \
             server:\n    listen_uri: 127.0.0.1:8080\n    profiles_path: {home}/profiles.yaml\n    console_path: {home}/console.yaml\n\
             prometheus:\n  enabled: false\n"
        );
        fs::write(folder.join("config.yaml"), config).unwrap();
        let cscli = |args: &[&str]| cscli(netns, folder, args);
        cscli(&[
            "machines",
            "add",
            "admin",
            "--password",
            "x",
            "-f",
            &format!("{home}/credentials.yaml"),
            "--url",
            "http://127.0.0.1:8080/",
        ]);
        cscli(&["machines", "add", "pbx", "--password", "getout", "-f", &format!("{home}/pbx.yaml")]);
        cscli(&["bouncers", "add", "sipban", "-k", "the-key"]);
        let log = fs::File::create(folder.join("log")).unwrap();
        let process = netns.enter(|| {
            let mut command = Command::new(&program);
            command.arg("-c").arg(folder.join("config.yaml")).arg("-no-cs").stdin(Stdio::null());
            command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap()
        });
        let crowdsec = Crowdsec { folder: folder.to_owned(), process };
        wait_until("the local API", || netns.enter(|| std::net::TcpStream::connect("127.0.0.1:8080").is_ok()));
        Some(crowdsec)
    }

    fn cscli(&self, netns: &Netns, args: &[&str]) -> String {
        cscli(netns, &self.folder, args)
    }
}

fn cscli(netns: &Netns, folder: &Path, args: &[&str]) -> String {
    let config = folder.join("config.yaml").display().to_string();
    netns.enter(|| call(Path::new(FOLDER).join("cscli"), &[&["-c", &config], args].concat()).unwrap())
}

impl Drop for Crowdsec {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn decisions_of_the_real_server_are_a_list_and_reports_become_decisions() {
    let Some(mut lab) = Lab::new(Variant::Nft) else { return };
    let folder = lab.path("crowdsec");
    let Some(crowdsec) = Crowdsec::start(&lab.netns, &folder) else { return };
    let decide = |args: &[&str]| crowdsec.cscli(&lab.netns, &[&["decisions"], args].concat());
    decide(&["add", "-i", "45.10.1.9", "-d", "1h", "-R", "test"]);
    decide(&["add", "-r", "45.10.2.0/24", "-d", "1h", "-R", "test"]);
    lab.set("iptables.backend", "nft");
    lab.set("crowdsec.key", "the-key");
    lab.set("crowdsec.machine", "pbx");
    lab.set("crowdsec.password", "getout");
    lab.set("crowdsec.every", 1);
    lab.start();
    lab.wait_for_log("FEED => crowdsec: 2 entries in force");
    let set = |lab: &Lab| lab.nft("list table inet sipban-lists").unwrap();
    assert!(set(&lab).contains("45.10.1.9") && set(&lab).contains("45.10.2.0/24"), "{}", set(&lab));
    assert!(lab.console("why 45.10.2.77").contains("held by crowdsec (45.10.2.0/24)"));

    let decide = |lab: &Lab, args: &[&str]| crowdsec.cscli(&lab.netns, &[&["decisions"], args].concat());
    decide(&lab, &["delete", "-i", "45.10.1.9"]);
    wait_until("the end of a decision", || !set(&lab).contains("45.10.1.9"));
    decide(&lab, &["add", "-i", "45.10.1.10", "-d", "3s", "-R", "test"]);
    wait_until("a short decision", || set(&lab).contains("45.10.1.10"));
    wait_until("its end", || !set(&lab).contains("45.10.1.10"));

    // What we report becomes a decision of theirs, which is no news to us.
    lab.attack_and_block("45.10.3.3");
    let alerts = || crowdsec.cscli(&lab.netns, &["alerts", "list", "-o", "json"]);
    wait_until("the alert", || alerts().contains("sipban/invalid-account"));
    wait_until("the decision", || decide(&lab, &["list", "-o", "json"]).contains("45.10.3.3"));
    decide(&lab, &["add", "-i", "45.10.1.11", "-d", "1h", "-R", "test"]);
    wait_until("a later decision", || set(&lab).contains("45.10.1.11"));
    assert!(!set(&lab).contains("45.10.3.3"));
    assert_eq!(
        alerts().matches("sipban/invalid-account\"").count(),
        alerts().matches("\"scenario\": \"sipban/").count()
    );

    // Without the server all that is held goes on, also after a restart.
    drop(crowdsec);
    lab.wait_for_log("CROWDSEC => no decisions: ");
    lab.kill();
    lab.start();
    lab.wait_for_log("FEED => crowdsec: 2 entries in force");
    let checked = String::from_utf8(lab.run(&["check"]).stdout).unwrap();
    assert!(checked.lines().any(|line| line.starts_with("WARN  CrowdSec")), "{checked}");
}
