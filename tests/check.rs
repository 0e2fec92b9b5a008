//! `sipban check` against a manager interface that follows a script, in network namespaces of the tests' own.

#[path = "common/mmdb.rs"]
mod mmdb;
#[path = "common/netns.rs"]
mod netns;

use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use mmdb::{country, database};
use netns::{Netns, Variant, call, replace_by_script};

/// How the manager interface behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    Good,
    /// Whoever logs in hears nothing.
    Mute,
    /// No event, but then one to the Ping.
    Late,
    /// It is something else.
    Web,
    /// It says nothing at all.
    Silent,
    /// The user may be there only once.
    Taken,
}

/// A machine to check: a namespace with one interface besides loopback, a configuration, Asterisk's own, and this
/// process in the part of Asterisk.
struct Bed {
    netns: Netns,
    /// The other end of the cable; gone with it, the interface would be too.
    _other: Netns,
    folder: TempDir,
    variant: Option<TempDir>,
    config: String,
    sockets: Vec<Box<dyn Send + Sync>>,
    /// The unit of the service, on a machine that systemd runs.
    unit: Option<&'static str>,
    environment: Vec<(&'static str, &'static str)>,
    args: Vec<&'static str>,
}

const MANAGER: &str = "[general]\nenabled = yes\nbindaddr = 127.0.0.1\n[sipban]\nsecret = getout\nread = security\n";

impl Bed {
    /// In which all is well.
    fn new() -> Option<Bed> {
        // Whose sockets these are is told by the name of the process.
        fs::write("/proc/self/comm", "asterisk").unwrap();
        let netns = Netns::new()?;
        let other = netns.joined(&["192.168.7.1".parse().unwrap()], &["192.168.7.2".parse().unwrap()])?;
        netns.run(&["ip", "route", "add", "default", "via", "192.168.7.2"]);
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        let config = format!(
            "[ami]\nuser = sipban\npass = getout\n[iptables]\nwhite_list = {}\ndump = {}\n[state]\nfile = {}\n[log]\nfile = {}\n",
            path("sipban.wl"),
            path("sipban.dump"),
            path("state/bans"),
            path("sipban.log"),
        );
        fs::write(path("sipban.wl"), "192.168.7.0/24\n").unwrap();
        let mut bed = Bed {
            netns,
            _other: other,
            folder,
            variant: None,
            config,
            sockets: Vec::new(),
            unit: None,
            environment: Vec::new(),
            args: Vec::new(),
        };
        bed.asterisk("manager.conf", MANAGER);
        bed.udp("0.0.0.0:5060");
        Some(bed)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file of Asterisk's configuration.
    fn asterisk(&self, name: &str, text: &str) {
        fs::create_dir_all(self.path("asterisk")).unwrap();
        fs::write(self.path("asterisk").join(name), text).unwrap();
    }

    /// Puts a line behind the heading of a section, which is made if it is missing.
    fn set(&mut self, section: &str, line: &str) {
        let heading = format!("[{section}]\n");
        if !self.config.contains(&heading) {
            self.config += &heading;
        }
        self.config = self.config.replace(&heading, &format!("{heading}{line}\n"));
    }

    fn udp(&mut self, address: &str) {
        let socket = self.netns.enter(|| UdpSocket::bind(address).unwrap());
        self.sockets.push(Box::new(socket));
    }

    fn tcp(&mut self, address: &str) {
        let socket = self.netns.enter(|| TcpListener::bind(address).unwrap());
        self.sockets.push(Box::new(socket));
    }

    /// Opens the manager interface.
    fn manager(&mut self, manner: Manner) {
        self.manager_at("127.0.0.1:5038", manner);
    }

    fn manager_at(&mut self, address: &str, manner: Manner) {
        let listener = Arc::new(self.netns.enter(|| TcpListener::bind(address).unwrap()));
        let accepting = listener.clone();
        let serve = move || {
            for stream in accepting.incoming() {
                thread::Builder::new()
                    .name("manager".into())
                    .spawn(move || drop(speak(&stream.unwrap(), manner)))
                    .unwrap();
            }
        };
        thread::Builder::new().name("managers".into()).spawn(serve).unwrap();
    }

    fn sipban(&self) -> assert_cmd::Command {
        let Some(unit) = self.unit else { return assert_cmd::Command::cargo_bin("sipban").unwrap() };
        let mut command = assert_cmd::Command::new("unshare");
        let script = "mount -t tmpfs none /run && mkdir -p /run/systemd/system && \
                      printf '%s' \"$1\" >/run/systemd/system/sipban.service && shift && exec \"$@\"";
        command.args(["--mount", "sh", "-c", script, "sh", unit, env!("CARGO_BIN_EXE_sipban")]);
        command
    }

    fn check(&self) -> Report {
        let conf = self.path("sipban.conf");
        let mut config = self.config.clone();
        if let Some(folder) = &self.variant {
            let heading = "[iptables]\n";
            config = config.replace(heading, &format!("{heading}path = {}\n", folder.path().display()));
        }
        fs::write(&conf, config).unwrap();
        fs::set_permissions(&conf, Permissions::from_mode(0o600)).unwrap();
        let run = |json: &[&str]| {
            let mut command = self.sipban();
            command.arg("-c").arg(&conf).arg("check").arg("--asterisk").arg(self.path("asterisk"));
            command.args(&self.args).args(json).env_remove("SSH_CONNECTION").env_remove("SSH_CLIENT");
            command.env("TZ", "CST6").envs(self.environment.iter().copied());
            self.netns.enter(|| command.output().unwrap())
        };
        // Both at once, as some of them wait for what does not come.
        let (text, json) = thread::scope(|scope| {
            let json = thread::Builder::new().name("json".into()).spawn_scoped(scope, || run(&["--json"])).unwrap();
            (run(&[]), json.join().unwrap())
        });
        assert_eq!(text.status, json.status, "{text:?}");
        assert!(text.stderr.is_empty() && json.stderr.is_empty(), "{text:?} {json:?}");
        let report = Report {
            code: text.status.code().unwrap(),
            text: String::from_utf8(text.stdout).unwrap(),
            json: serde_json::from_slice(&json.stdout).unwrap(),
        };
        assert_eq!(report.json["findings"].as_array().unwrap().len(), report.text.lines().count(), "{}", report.text);
        assert_eq!(report.json["ok"], Value::Bool(report.code == 0));
        report
    }
}

struct Report {
    code: i32,
    text: String,
    json: Value,
}

impl Report {
    /// Whether a line says so, and the exit code that all is not well because of it.
    #[track_caller]
    fn says(&self, level: &str, what: &str, parts: &[&str]) {
        let start = format!("{level:4}  {what:13}  ");
        let found =
            self.text.lines().any(|line| line.starts_with(&start) && parts.iter().all(|part| line.contains(part)));
        assert!(found, "{start}{parts:?} is not in\n{}", self.text);
        assert!(level == "OK" || self.code == 1);
    }

    /// The lines that do not say OK.
    fn complaints(&self) -> Vec<&str> {
        self.text.lines().filter(|line| !line.starts_with("OK ")).collect()
    }
}

fn speak(stream: &TcpStream, manner: Manner) -> std::io::Result<()> {
    let mut out = stream;
    match manner {
        Manner::Web => return out.write_all(b"HTTP/1.0 400 Bad Request\r\n\r\n"),
        Manner::Silent => {}
        _ => out.write_all(b"Asterisk Call Manager/11.0.0\r\n")?,
    }
    let (mut name, mut id, mut secret) = (String::new(), String::new(), String::new());
    for line in BufReader::new(stream).lines() {
        let line = line?;
        match line.split_once(": ") {
            Some(("Action", value)) => name = value.to_owned(),
            Some(("ActionID", value)) => id = value.to_owned(),
            Some(("Secret", value)) => secret = value.to_owned(),
            _ => {}
        }
        if !line.is_empty() || manner == Manner::Silent {
            continue;
        }
        let event = format!(
            "Event: SuccessfulAuth\r\nPrivilege: security,all\r\nEventTV: 2026-11-22T10:33:00.368+0000\r\n\
             Severity: Informational\r\nService: AMI\r\nEventVersion: 1\r\nAccountID: sipban\r\nSessionID: 0x7f1c28003d80\r\n\
             LocalAddress: IPV4/TCP/0.0.0.0/5038\r\nRemoteAddress: IPV4/TCP/127.0.0.1/{}\r\nUsingPassword: 0\r\n\
             SessionTV: 1970-01-01T00:00:00.000+0000\r\n\r\n",
            stream.peer_addr()?.port()
        );
        let refused = |why: &str| format!("Response: Error\r\nActionID: {id}\r\nMessage: {why}\r\n\r\n");
        let answer = match name.as_str() {
            "Login" if manner == Manner::Taken => refused("Login Already In Use"),
            "Login" if secret != "getout" => refused("Authentication failed"),
            "Login" => {
                let accepted =
                    format!("Response: Success\r\nActionID: {id}\r\nMessage: Authentication accepted\r\n\r\n");
                if manner == Manner::Good { accepted + &event } else { accepted }
            }
            "Ping" => {
                let pong = format!("Response: Success\r\nActionID: {id}\r\nPing: Pong\r\nTimestamp: 1.5\r\n\r\n");
                if manner == Manner::Late { pong + &event } else { pong }
            }
            _ => refused("Permission denied"),
        };
        out.write_all(answer.as_bytes())?;
    }
    Ok(())
}

#[test]
fn where_all_is_well_every_line_says_so_and_nothing_is_changed() {
    for variant in [Variant::Nft, Variant::Legacy] {
        let (Some(mut bed), Some(folder)) = (Bed::new(), variant.folder()) else { return };
        let tools: Vec<PathBuf> = ["iptables-save", "ip6tables-save"].map(|tool| folder.path().join(tool)).into();
        bed.variant = Some(folder);
        bed.manager(Manner::Good);
        let rules = |bed: &Bed| {
            let rules = |tool| bed.netns.enter(|| call(tool, &["-t", "filter"]).unwrap());
            let all: Vec<String> = tools.iter().map(rules).collect();
            all.concat().lines().filter(|line| line.starts_with("-A") || line.contains("sipban")).count()
        };
        let report = bed.check();
        assert_eq!(report.complaints(), [""; 0], "{variant:?}");
        assert_eq!(report.code, 0);
        assert_eq!(rules(&bed), 0);
        assert!(!bed.path("state").exists() && !bed.path("sipban.log").exists());
        report.says("OK", "AMI login", &["sipban at 127.0.0.1:5038", "Asterisk Call Manager/11.0.0"]);
        report.says("OK", "AMI events", &[]);
        report.says("OK", "AMI door", &["5038"]);
        report.says("OK", "scope", &["auto, UDP 5060-5061; TCP 5060-5061"]);
        report.says("OK", "white list", &["1 entry", "192.168.7.0/24"]);
        report.says("OK", "console", &["is free"]);
    }
}

#[test]
fn an_event_that_comes_with_the_ping_is_an_event() {
    let Some(mut bed) = Bed::new() else { return };
    bed.manager(Manner::Late);
    assert_eq!(bed.check().complaints(), [""; 0]);
}

#[test]
fn a_wrong_secret_and_an_unknown_user_are_refused() {
    let Some(mut bed) = Bed::new() else { return };
    bed.manager(Manner::Good);
    bed.config = bed.config.replace("getout", "mistaken");
    let report = bed.check();
    report.says("FAIL", "AMI login", &["refuses sipban: Authentication failed", "ami.pass", "manager reload"]);
    assert!(!report.text.contains("mistaken"), "{}", report.text);
    bed.asterisk("manager.conf", "[general]\nbindaddr = 127.0.0.1\n");
    bed.check().says("FAIL", "AMI login", &["has no section [sipban]"]);
}

#[test]
fn no_manager_interface_and_something_else_in_its_place_are_told_apart() {
    let Some(mut bed) = Bed::new() else { return };
    bed.check().says("FAIL", "AMI login", &["cannot connect to 127.0.0.1:5038: Connection refused", "enabled = yes"]);
    bed.manager(Manner::Web);
    bed.check().says("FAIL", "AMI login", &["it greets with \"HTTP/1.0"]);
}

#[test]
fn an_interface_that_says_nothing_is_given_up() {
    let Some(mut bed) = Bed::new() else { return };
    bed.manager(Manner::Silent);
    bed.check().says("FAIL", "AMI login", &["no greeting within 10 s"]);
}

#[test]
fn a_user_without_the_security_class_is_deaf() {
    let Some(mut bed) = Bed::new() else { return };
    bed.manager(Manner::Mute);
    bed.check().says("FAIL", "AMI events", &["hears no security events", "eventfilter"]);
    bed.asterisk("manager.conf", &MANAGER.replace("read = security", "read = call,securty"));
    bed.check().says("FAIL", "AMI events", &["read = call,securty", "add security to that line"]);
    bed.asterisk("manager.conf", &MANAGER.replace("read = security", ""));
    bed.check().says("FAIL", "AMI events", &["no line read"]);
}

#[test]
fn a_user_that_may_log_in_once_only_is_no_failure() {
    let Some(mut bed) = Bed::new() else { return };
    bed.manager(Manner::Taken);
    bed.check().says("WARN", "AMI login", &["Login Already In Use", "such as the daemon"]);
}

#[test]
fn doors_that_others_reach_are_warned_of() {
    let Some(mut bed) = Bed::new() else { return };
    bed.manager_at("0.0.0.0:5038", Manner::Good);
    bed.check().says("WARN", "AMI door", &["0.0.0.0:5038", "bindaddr = 127.0.0.1"]);
    bed.tcp("0.0.0.0:8088");
    bed.check().says("OK", "HTTP door", &["does not lead to the manager interface"]);
    bed.asterisk("manager.conf", &MANAGER.replace("enabled", "webenabled = yes\nenabled"));
    bed.check().says("WARN", "HTTP door", &["webenabled = no"]);
    bed.asterisk("sip.conf", "[general]\nalwaysauthreject = no\n");
    bed.check().says("WARN", "chan_sip", &["sip.conf", "tells strangers which accounts there are"]);
    fs::remove_file(bed.path("asterisk/manager.conf")).unwrap();
    bed.check().says("WARN", "HTTP door", &["cannot be read"]);
}

#[test]
fn asterisk_on_another_machine_is_warned_of() {
    let Some(mut bed) = Bed::new() else { return };
    bed.set("ami", "host = 192.168.7.2");
    let report = bed.check();
    report.says("FAIL", "AMI login", &["192.168.7.2:5038"]);
    report.says("WARN", "Asterisk", &["192.168.7.2 is another machine"]);
}

#[test]
fn an_interface_that_is_not_there_or_not_where_attackers_come_from_is_told() {
    let Some(mut bed) = Bed::new() else { return };
    bed.manager(Manner::Good);
    bed.set("iptables", "interface = eno1");
    bed.check().says("FAIL", "interface", &["there is no eno1", "lo, near"]);
    bed.config = bed.config.replace("eno1", "lo");
    bed.check().says("WARN", "interface", &["the default route goes by near"]);
    for there in ["near", "ne+"] {
        let was = bed.config.clone();
        bed.config = bed.config.replace("interface = lo", &format!("interface = {there}"));
        assert_eq!(bed.check().complaints(), [""; 0]);
        bed.config = was;
    }
}

#[test]
fn a_scope_that_leaves_a_port_of_asterisk_open_is_told() {
    let Some(mut bed) = Bed::new() else { return };
    bed.manager(Manner::Good);
    bed.set("iptables", "scope = -p udp --dport 5060");
    bed.check().says("OK", "scope", &["leads UDP 5060 through"]);
    // Not of SIP: IAX2, the sound of a call, one that only this machine reaches.
    for other in ["0.0.0.0:4569", "0.0.0.0:10234", "127.0.0.1:5090"] {
        bed.udp(other);
    }
    bed.check().says("OK", "scope", &["leads UDP 5060 through"]);
    bed.udp("0.0.0.0:5160");
    bed.tcp("[::]:5061");
    bed.check().says("WARN", "scope", &["listens on UDP 5160, TCP 5061, which `-p udp --dport 5060` does not"]);
    bed.config = bed.config.replace("-p udp --dport 5060", "-s 10.0.0.0/8");
    bed.check().says("WARN", "scope", &["cannot tell whether `-s 10.0.0.0/8` leads UDP 5060"]);
    bed.config = bed.config.replace("-s 10.0.0.0/8", "auto");
    bed.check().says("OK", "scope", &["at the first attack: UDP 5160"]);
}

#[test]
fn sip_over_websocket_counts_where_pjsip_has_it() {
    let Some(mut bed) = Bed::new() else { return };
    bed.manager(Manner::Good);
    bed.tcp("0.0.0.0:8089");
    bed.set("iptables", "scope = -p udp --dport 5060");
    bed.check().says("OK", "scope", &[]);
    bed.asterisk("pjsip.conf", "[transport-wss]\ntype = transport\nprotocol = wss\n");
    bed.check().says("WARN", "scope", &["TCP 8089"]);
}

#[test]
fn asterisk_that_is_not_seen_is_told() {
    let Some(mut bed) = Bed::new() else { return };
    bed.sockets.clear();
    bed.check().says("WARN", "scope", &["no process named asterisk", "container"]);
}

#[test]
fn a_white_list_without_the_administrator_is_told() {
    let Some(mut bed) = Bed::new() else { return };
    bed.manager(Manner::Good);
    let list = bed.path("sipban.wl");
    fs::write(&list, "192.0.2.1\n").unwrap();
    let add = format!("echo 192.168.7.0/24 >>{}", list.display());
    bed.check().says("WARN", "white list", &["nothing of this machine's network 192.168.7.0/24", &add]);

    bed.environment = vec![("SSH_CONNECTION", "198.51.100.7 50000 192.168.7.1 22")];
    bed.check().says("WARN", "white list", &["you are logged in from 198.51.100.7", "echo 198.51.100.7 >>"]);
    fs::write(&list, "198.51.100.0/24\n").unwrap();
    bed.check().says("OK", "white list", &["198.51.100.7, from where you are logged in, is protected"]);

    fs::write(&list, "198.51.100.0/24\n192.0.2.300\nno-such-host.invalid\n").unwrap();
    let report = bed.check();
    report.says("WARN", "white list", &["sipban.wl:2: ", "mend that line"]);
    report.says("WARN", "white list", &["no-such-host.invalid stands for no address"]);
    fs::remove_file(&list).unwrap();
    bed.check().says("WARN", "white list", &["does not exist"]);
    fs::create_dir(&list).unwrap();
    bed.check().says("FAIL", "white list", &["cannot read"]);
}

#[test]
fn what_the_service_may_not_read_or_write_is_told_though_root_may() {
    let Some(mut bed) = Bed::new() else { return };
    bed.unit = Some("[Service]\nCapabilityBoundingSet=CAP_NET_ADMIN CAP_NET_RAW\n");
    bed.manager(Manner::Good);
    assert_eq!(bed.check().complaints(), [""; 0]);

    let of_nobody = |name: &str, mode: u32| {
        fs::write(bed.path(name), "192.168.7.0/24\n").unwrap();
        fs::set_permissions(bed.path(name), Permissions::from_mode(mode)).unwrap();
        std::os::unix::fs::chown(bed.path(name), Some(65534), Some(65534)).unwrap();
    };
    of_nobody("sipban.wl", 0o600);
    of_nobody("sipban.log", 0o644);
    let report = bed.check();
    report.says("FAIL", "white list", &["the daemon cannot start", "sipban.wl belongs to nobody, mode 0600"]);
    report.says("FAIL", "log", &["sipban.log cannot be written", "belongs to nobody, mode 0644"]);
    of_nobody("sipban.wl", 0o604);
    bed.check().says("OK", "white list", &["1 entry"]);
    let folder = bed.path("");
    fs::set_permissions(&folder, Permissions::from_mode(0o500)).unwrap();
    bed.check().says("WARN", "dump", &["belongs to root, mode 0500"]);

    // Without systemd the daemon has all of root's rights.
    bed.unit = None;
    assert_eq!(bed.check().complaints(), [""; 0]);
}

#[test]
fn a_rule_that_iptables_does_not_take_fails() {
    let Some(mut bed) = Bed::new() else { return };
    bed.manager(Manner::Good);
    bed.set("iptables", "scope = -p udp --dport nonsense");
    bed.check().says("FAIL", "iptables", &["(nf_tables): `", "nonsense", "mend what it complains of"]);
}

#[test]
fn ip6tables_that_does_not_work_matters_where_there_is_ipv6() {
    let (Some(mut bed), Some(folder)) = (Bed::new(), Variant::Nft.folder()) else { return };
    bed.manager(Manner::Good);
    replace_by_script(folder.path(), "ip6tables-restore", "echo broken >&2; exit 1");
    bed.variant = Some(folder);
    bed.check().says("OK", "ip6tables", &["no IPv6 address"]);
    bed.netns.run(&["ip", "address", "add", "2001:db8:7::1/64", "dev", "near", "nodad"]);
    bed.check().says("FAIL", "ip6tables", &["attackers on IPv6 cannot be blocked", "broken"]);
}

#[test]
fn rules_in_the_tables_of_the_other_kind_are_told() {
    let kinds = [(Variant::Nft, Variant::Legacy, "legacy"), (Variant::Legacy, Variant::Nft, "nft")];
    for (chosen, other, name) in kinds {
        let (Some(mut bed), Some(folder), Some(others)) = (Bed::new(), chosen.folder(), other.folder()) else { return };
        bed.variant = Some(folder);
        bed.manager(Manner::Good);
        let rule = |args: &[&str]| bed.netns.enter(|| call(others.path().join("iptables"), args).unwrap());
        rule(&["-w", "-A", "INPUT", "-s", "192.0.2.1", "-j", "DROP"]);
        bed.check().says("WARN", "both kinds", &[&format!("iptables-{name}-save shows 1 rules")]);
        rule(&["-w", "-N", "sipban-udp"]);
        bed.check().says("FAIL", "both kinds", &["another chain sipban-udp"]);
    }
}

#[test]
fn a_missing_ipset_is_told_where_it_is_chosen() {
    let (Some(mut bed), Some(folder)) = (Bed::new(), Variant::Nft.folder()) else { return };
    bed.manager(Manner::Good);
    bed.set("ipset", "set_name = sipban");
    bed.check().says("OK", "ipset", &["ipset v"]);
    replace_by_script(folder.path(), "ipset", "exit 1");
    bed.set("ipset", &format!("path = {}", folder.path().display()));
    bed.check().says("FAIL", "ipset", &["/ipset list -n` ended with", "module ip_set"]);
}

#[test]
fn scanners_are_told_from_others_where_rules_can_search() {
    let Some(mut bed) = Bed::new() else { return };
    let file = bed.folder.path().join("scanners");
    bed.set("shield", &format!("mode = on\nscanners = on\nscanners_file = {}", file.display()));
    bed.check().says("FAIL", "scanners", &["scanners: No such file", "mend the file"]);
    fs::write(&file, "friendly-scanner # SIPVicious\n").unwrap();
    let report = bed.check();
    report.says("OK", "scanners", &["1 in "]);
    report.says("OK", "iptables", &["takes the rules"]);
    fs::write(&file, "x # short\n").unwrap();
    bed.check().says("FAIL", "scanners", &["scanners, line 1: it has less than 3"]);
    bed.set("nft", "table = guard");
    bed.check().says("WARN", "scanners", &["nft cannot search a packet", "iptables.backend = ipset"]);
}

#[test]
fn a_table_that_nft_does_not_take_fails() {
    let (Some(mut bed), Some(folder)) = (Bed::new(), Variant::Nft.folder()) else { return };
    bed.manager(Manner::Good);
    bed.set("nft", "table = guard");
    bed.check().says("OK", "nft", &["nftables v", " takes the table inet guard"]);
    replace_by_script(folder.path(), "nft", "test $1 = --version && exec $REAL \"$@\"; echo too old >&2; exit 1");
    bed.variant = Some(folder);
    bed.check().says("FAIL", "nft", &["too old", "install nftables"]);
    bed.set("iptables", "scope = -s 192.0.2.0/24");
    bed.check().says("FAIL", "nft", &["iptables.scope: the backend nft cannot tell traffic apart"]);
}

#[test]
fn other_firewalls_are_told_and_which_backend_suits_them() {
    let (Some(mut bed), Some(folder)) = (Bed::new(), Variant::Nft.folder()) else { return };
    bed.manager(Manner::Good);
    let rule = |text: &str| {
        let args: Vec<&str> = text.split(' ').collect();
        bed.netns.enter(|| call(folder.path().join("iptables"), &args).unwrap());
    };
    for text in ["-N fpbxfirewall", "-A INPUT -j fpbxfirewall", "-N f2b-sip", "-N ufw-before-input", "-N DOCKER"] {
        rule(text);
    }
    let report = bed.check();
    report.says("WARN", "neighbours", &["FreePBX's firewall is here", "set iptables.backend = auto"]);
    for neighbour in ["fail2ban is here", "ufw is here", "Docker is here"] {
        report.says("OK", "neighbours", &[neighbour]);
    }
    rule("-N sipban-udp");
    rule("-A INPUT -j sipban-udp");
    rule("-A fpbxfirewall -p udp -j ACCEPT");
    bed.check().says("WARN", "neighbours", &["the chain fpbxfirewall of another program comes before ours"]);
    bed.set("iptables", "backend = auto");
    let report = bed.check();
    report.says("OK", "backend", &["auto chooses nft: FreePBX's firewall is here"]);
    report.says("OK", "neighbours", &["FreePBX's firewall is here: the table of nftables is none of its business"]);
    report.says("OK", "nft", &["takes the table inet sipban"]);
}

#[test]
fn a_user_of_the_manager_interface_belongs_into_the_file_that_the_web_interface_leaves_alone() {
    let Some(mut bed) = Bed::new() else { return };
    bed.config = bed.config.replace("getout", "getin");
    bed.manager(Manner::Good);
    bed.asterisk("manager.conf", "[general]\nenabled = yes\n#include manager_custom.conf\n");
    bed.asterisk("manager_custom.conf", "");
    bed.check().says("FAIL", "AMI login", &["manager_custom.conf has no section [sipban]"]);
}

#[test]
fn files_that_say_where_addresses_are_are_told_and_what_is_wrong_with_them() {
    let Some(mut bed) = Bed::new() else { return };
    let file = bed.path("country.mmdb");
    bed.set("geo", &format!("country = {}", file.display()));
    fs::write(&file, database("GeoLite2-Country", &[("203.0.113.0/24", country("MX"))])).unwrap();
    bed.check().says("OK", "geo", &["country.mmdb can be read"]);
    fs::write(&file, "<html>").unwrap();
    let parts = ["geo.country: ", "is no database of MaxMind's format", "; the daemon does not start with it"];
    bed.check().says("FAIL", "geo", &parts);
}

#[test]
fn files_that_cannot_be_written_are_told() {
    let Some(mut bed) = Bed::new() else { return };
    bed.manager(Manner::Good);
    for (key, file) in [("log", "sipban.log"), ("dump", "sipban.dump"), ("journal", "state/bans")] {
        let was = bed.config.clone();
        let (old, new) = (bed.path(file).display().to_string(), bed.path("sipban.wl/x").display().to_string());
        bed.config = bed.config.replace(&format!("{old}\n"), &format!("{new}\n"));
        bed.check().says(if key == "dump" { "WARN" } else { "FAIL" }, key, &[&new, "cannot be written"]);
        bed.config = was;
    }
    bed.environment = vec![("TZ", "Nowhere/City")];
    bed.check().says("WARN", "time zone", &["TZ=Nowhere/City is no time zone"]);
}

#[test]
fn a_port_or_an_address_that_the_console_cannot_have_is_told() {
    let Some(mut bed) = Bed::new() else { return };
    bed.manager(Manner::Good);
    bed.tcp("0.0.0.0:4451");
    bed.check().says("FAIL", "console", &["0.0.0.0:4451 is held by asterisk"]);
    bed.set("control", "address = 192.0.2.1\npassword = x");
    bed.check().says("FAIL", "console", &["192.0.2.1 is not an address of this machine"]);
}

#[test]
fn a_configuration_that_does_not_hold_is_told_line_by_line() {
    let Some(mut bed) = Bed::new() else { return };
    bed.config += "[limits]\nwindow = x\n[nonsense]\n";
    let report = bed.check();
    assert_eq!(report.text.lines().count(), 2, "{}", report.text);
    report.says("FAIL", "configuration", &["limits.window"]);
    report.says("FAIL", "configuration", &["[nonsense]: unknown section"]);
}

#[test]
fn who_may_not_make_rules_is_told() {
    let Some(mut bed) = Bed::new() else { return };
    bed.manager(Manner::Good);
    bed.check();
    let conf = bed.path("sipban.conf").display().to_string();
    let program = assert_cmd::cargo::cargo_bin("sipban").display().to_string();
    let without = ["setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin", &program, "-c", &conf, "check"];
    // All is not well, so what it printed is not in the answer but on standard output of the failed call.
    let script = without.join(" ") + " || true";
    let text = bed.netns.run(&["sh", "-c", &script]);
    if text.is_empty() {
        return; // setpriv is not installed
    }
    assert!(text.contains("FAIL  rights         no CAP_NET_ADMIN; run this as root\n"), "{text}");
}

/// A daemon that is ended with the test.
struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn beside_the_running_daemon_all_is_still_well() {
    let Some(mut bed) = Bed::new() else { return };
    bed.manager(Manner::Good);
    bed.check();
    #[expect(clippy::disallowed_methods, reason = "the daemon is started as its administrator does")]
    let start = || {
        let mut command = Command::new(assert_cmd::cargo::cargo_bin("sipban"));
        command.arg("-c").arg(bed.path("sipban.conf")).stdout(Stdio::null()).spawn().unwrap()
    };
    let _daemon = Daemon(bed.netns.enter(start));
    let console = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 4451);
    let up = || bed.netns.enter(|| TcpStream::connect(console).is_ok());
    assert!(
        (0..400).any(|_| up() || {
            thread::sleep(Duration::from_millis(50));
            false
        }),
        "the daemon does not come up"
    );
    let report = bed.check();
    assert_eq!(report.complaints(), [""; 0]);
    report.says("OK", "console", &["127.0.0.1:4451 is held by the running daemon"]);
    report.says("OK", "PBX", &["accepts its own phones"]);
}
