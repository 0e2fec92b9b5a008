//! The whole file, as administrators write it.

use super::*;
use crate::model::target::Icmp;
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt;

const MINIMAL: &str = "[ami]\nuser = sipban\npass = getout\n";
const SAMPLE: &str = include_str!("../../conf/sipban.conf");

/// The configuration file of the first release's documentation.
const FIRST: &str = r#"   
       # SipBan Configuration File

       # Parameters to connect to Asterisk AMI
       [ami]
       port = "5038"
       user = "sipban"
       pass = "getout"
       host = "127.0.0.1"
       ping = 600

       # Port to send commands
       [control]
       port = "4451"

       # Timers
       [timer]
       ban = 86400

       #Iptables rules actions config
       [iptables]
       path  = "/sbin/"
       chain = "sipban-udp"
       rule  = "REJECT --reject-with icmp-port-unreachable"
       #rule  = "DROP"
       white_list = "/etc/sipban.wl"
       dump = "/etc/sipban.dump"

       # Log file
       [log]
       file = "/var/log/sipban.log"
"#;

/// A file for the Perl program's ipset release.
const IPSET: &str = r#"
[ami]
port=5038
user="ban"
pass="ge#t;out"
host="pbx.example.com"
ping=60
[control]
port="4451"
address="127.0.0.1"
[iptables]
path="/sbin/"
chain="sipban"
scope=""
#scope="-p udp --dport 5060"
rule="DROP"
rule6="DROP"
white_list="/etc/sipban.wl"
interface="eno1"
[ipset]
path="/usr/sbin/"
set_name="sipban_set"
dump="/etc/other.dump"
# a week
timeout=604800
maxelem=1000
[log]
file="/var/log/sipban.log"
[flood]
count=30
interval=20
"#;

fn parse(text: &str) -> Result<Config, ConfigErrors> {
    Config::parse(text, Path::new("/etc/sipban.conf"))
}

fn minimal() -> Config {
    parse(MINIMAL).unwrap()
}

/// The errors of the minimal file with more lines, one a line.
fn errors(more: &str) -> String {
    parse(&format!("{MINIMAL}{more}")).unwrap_err().to_string()
}

#[test]
fn user_and_secret_alone_give_the_defaults() {
    let config = minimal();
    assert_eq!(config.ami.host, "127.0.0.1");
    assert_eq!((config.ami.port, config.ami.ping), (5038, 60));
    assert_eq!(config.control.address, Ipv4Addr::LOCALHOST);
    assert_eq!((config.control.port, config.control.users.join(",")), (4451, "root".to_owned()));
    assert_eq!(config.control.password, None);
    assert_eq!(config.lengths.ban, 86400);
    assert_eq!(config.firewall.iptables_path, None);
    assert_eq!(config.firewall.ipset_path, None);
    assert_eq!(config.firewall.chain.as_str(), "sipban-udp");
    assert_eq!(config.firewall.target, Target::Drop);
    assert_eq!(config.firewall.scope, ScopeConfig::Auto);
    assert_eq!(config.firewall.interface, None);
    assert_eq!(config.firewall.backend, Backend::Iptables);
    assert_eq!((config.firewall.verify, config.firewall.maxelem), (10, 262_144));
    assert_eq!(config.firewall.set_name, "sipban");
    assert_eq!(config.white_list, Path::new("/etc/sipban.wl"));
    assert_eq!(config.dump, Path::new("/etc/sipban.dump"));
    assert_eq!(config.journal, Path::new("/var/lib/sipban/bans"));
    assert_eq!(config.on_stop, OnStop::Clear);
    assert_eq!(config.log_file, Path::new("/var/log/sipban.log"));
    assert_eq!(config.log_level, log::LevelFilter::Info);
    let limits = Limits {
        window: 600,
        unknown_account: 1,
        wrong_password: 3,
        acl: 1,
        ami: 1,
        day_guesses: 6,
        pressure: 5,
        neighbours: 5,
        home_time: 2_592_000,
        hammer: 30,
        home_guesses: 20,
        strange: 8,
        home_challenges: 3,
        weather: 3,
        weather_share: 20,
        weather_time: 3600,
        countries: vec![],
        memory: 32 << 20,
        ipv6_prefix: 64,
        flood_count: 5,
        flood_interval: 10,
    };
    assert_eq!(config.limits, limits);
    let lengths = Lengths { ban: 86_400, home: 600, growth: 4, longest: 2_592_000 };
    assert_eq!(config.lengths, lengths);
}

#[test]
fn the_file_of_the_first_release_is_read_unchanged() {
    let mut expected = minimal();
    expected.ami.ping = 600;
    expected.firewall.iptables_path = Some("/sbin/".into());
    expected.firewall.ipset_path = Some("/sbin/".into());
    expected.firewall.target = Target::Reject(Icmp::PortUnreachable);
    assert_eq!(parse(FIRST), Ok(expected));
}

#[test]
fn the_file_of_the_ipset_release_is_read_unchanged() {
    let mut expected = minimal();
    expected.ami.host = "pbx.example.com".to_owned();
    expected.ami.user = "ban".to_owned();
    expected.ami.pass = Secret("ge#t;out".to_owned());
    expected.lengths.ban = 604_800;
    expected.dump = "/etc/other.dump".into();
    expected.firewall = FirewallConfig {
        iptables_path: Some("/sbin/".into()),
        ipset_path: Some("/usr/sbin/".into()),
        chain: "sipban".parse().unwrap(),
        scope: ScopeConfig::All,
        interface: Some("eno1".to_owned()),
        backend: Backend::Ipset,
        set_name: "sipban_set".to_owned(),
        maxelem: 1000,
        ..expected.firewall
    };
    (expected.limits.flood_count, expected.limits.flood_interval) = (30, 20);
    assert_eq!(parse(IPSET), Ok(expected));
}

#[test]
fn countries_are_codes_and_need_the_file_that_knows_them() {
    let more = "[limits]\ncountries = mx, US\n";
    assert_eq!(
        errors(more),
        "/etc/sipban.conf:5: limits.countries: needs geo.country, the file that says where addresses are"
    );
    let config = parse(&format!("{MINIMAL}{more}[geo]\ncountry = /usr/share/GeoIP/GeoLite2-Country.mmdb\n")).unwrap();
    let codes: Vec<String> = config.limits.countries.iter().map(ToString::to_string).collect();
    assert_eq!(codes, ["MX", "US"]);
    let wrong = errors("[limits]\ncountries = MX, Mexico\n");
    assert!(
        wrong.contains("limits.countries: expected codes of countries such as MX, US, found \"Mexico\""),
        "{wrong}"
    );
}

#[test]
fn windows_line_ends_a_byte_order_mark_and_capitals_change_nothing() {
    let text = format!("\u{feff}{}", IPSET.replace('\n', "\r\n").replace("[ami]", "[AMI]").replace("user=", "User="));
    assert_eq!(parse(&text), parse(IPSET));
}

#[test]
fn all_errors_come_at_once_with_line_key_and_advice() {
    let text = "user = x\n[ami]\nprot = 5038\nuser = sipban\nport = 0\nport = 5038\n[contrl]\nport = 1\n[iptables]\n\
                chain = INPUT\nrule = ACCEPT\nset_name = x\nscope\n[log]\nlevel = loud\n";
    assert_eq!(
        parse(text).unwrap_err().to_string(),
        "/etc/sipban.conf:1: a key before the first [section]\n\
         /etc/sipban.conf:3: ami.prot: unknown key; did you mean ami.port?\n\
         /etc/sipban.conf:5: ami.port: expected a number from 1 to 65535, found \"0\"\n\
         /etc/sipban.conf:6: ami.port: given twice, first in line 5\n\
         /etc/sipban.conf:7: [contrl]: unknown section; did you mean [control]?\n\
         /etc/sipban.conf:10: iptables.chain: expected a name that is not one of iptables' own, such as sipban-udp, found \"INPUT\"\n\
         /etc/sipban.conf:11: iptables.rule: expected DROP, REJECT or REJECT --reject-with TYPE, found \"ACCEPT\"\n\
         /etc/sipban.conf:12: iptables.set_name: unknown key; did you mean ipset.set_name?\n\
         /etc/sipban.conf:13: neither `[section]` nor `key = value`\n\
         /etc/sipban.conf:15: log.level: expected error or warn or info or debug or trace, found \"loud\"\n\
         /etc/sipban.conf: ami.pass: must be given, as in Asterisk's manager.conf"
    );
}

#[test]
fn an_empty_file_lacks_user_and_secret_only() {
    assert_eq!(
        parse("").unwrap_err().to_string(),
        "/etc/sipban.conf: ami.user: must be given, as in Asterisk's manager.conf\n\
         /etc/sipban.conf: ami.pass: must be given, as in Asterisk's manager.conf"
    );
    assert_eq!(
        parse("[ami]\nuser =\npass = \"\"").unwrap_err().to_string(),
        "/etc/sipban.conf:2: ami.user: must not be empty\n/etc/sipban.conf:3: ami.pass: must not be empty"
    );
}

#[test]
fn a_secret_that_a_comment_may_have_cut_is_an_error() {
    let secret = |value: &str| parse(&format!("[ami]\nuser = sipban # me\npass = {value}")).map(|c| c.ami.pass.0);
    assert_eq!(secret("ge#tout").unwrap(), "ge#tout");
    assert_eq!(secret("\"ge #tout\" ; as in manager.conf").unwrap(), "ge #tout");
    let error = secret("ge #tout").unwrap_err().to_string();
    assert!(error.starts_with("/etc/sipban.conf:3: ami.pass: where it ends is in doubt"), "{error}");
}

#[test]
fn the_section_ipset_chooses_the_set_unless_told_otherwise() {
    let backend = |more: &str| parse(&format!("{MINIMAL}{more}")).unwrap().firewall.backend;
    assert_eq!(backend("[ipset]\n"), Backend::Ipset);
    assert_eq!(backend("[ipset]\n[iptables]\nbackend = iptables\n"), Backend::Iptables);
    assert_eq!(backend("[iptables]\nbackend = ipset\n"), Backend::Ipset);
    assert_eq!(backend("[nft]\n"), Backend::Nft);
    assert_eq!(backend("[nft]\n[ipset]\nmaxelem = 9\n"), Backend::Nft);
    assert_eq!(backend("[nft]\n[iptables]\nbackend = auto\n"), Backend::Auto);
    let error = errors("[nft]\ntable = 1st\n");
    assert!(error.contains("nft.table: expected a name that begins with a letter"), "{error}");
}

#[test]
fn one_setting_under_two_names_must_agree() {
    let same = "[timer]\nban = 60\n[ipset]\ntimeout = 60\n";
    assert_eq!(parse(&format!("{MINIMAL}{same}")).unwrap().lengths.ban, 60);
    assert_eq!(
        errors("[ipset]\ntimeout = 60\n[timer]\nban = 61\n"),
        "/etc/sipban.conf:5: ipset.timeout: differs from timer.ban, which sets the same thing; remove one"
    );
    assert!(errors("[timer]\nban = 0\n").lines().count() == 1);
}

#[test]
fn a_block_may_last_longer_than_the_kernel_counts() {
    let config = parse(&format!("{MINIMAL}[ipset]\n[timer]\nban = 2147484\n")).unwrap();
    assert_eq!(config.lengths.ban, 2_147_484);
}

#[test]
fn the_console_is_opened_to_others_only_with_a_password() {
    let open = "[control]\naddress = 0.0.0.0\n";
    let error = errors(open);
    assert!(error.contains(":5: control.address: 0.0.0.0 is not a loopback address"), "{error}");
    assert_eq!(errors(&format!("{open}password = \"\"\n")), error);
    assert!(parse(&format!("{MINIMAL}{open}password = sesame\n")).is_ok());
    assert!(parse(&format!("{MINIMAL}[control]\naddress = ::1\n")).is_ok());
}

#[test]
fn what_contradicts_itself_is_an_error() {
    let error = errors("[iptables]\nrule = DROP\nrule6 = REJECT\n");
    assert!(error.contains(":6: iptables.rule6: is not DROP"), "{error}");
    let error = errors("[iptables]\ninterface = eth0\nscope = -i eth1 -p udp\n");
    assert!(error.contains(":6: iptables.scope: names an interface"), "{error}");
    let error = errors("[iptables]\ndump = /etc/sipban.wl\n");
    assert!(error.contains(":5: iptables.dump: is the same file as iptables.white_list"), "{error}");
}

#[test]
fn a_limit_of_nought_is_never_reached() {
    let config = parse(&format!("{MINIMAL}[flood]\ncount = 0\n[limits]\nacl = 0\nhome_time = 0\n")).unwrap();
    assert_eq!((config.limits.flood_count, config.limits.acl, config.limits.home_time), (0, 0, 0));
}

#[test]
fn a_file_is_loaded_and_told_of_if_everybody_can_read_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sipban.conf");
    fs::write(&path, MINIMAL).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
    assert_eq!(Config::load(&path).unwrap(), (minimal(), vec![]));
    fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
    let (_, warnings) = Config::load(&path).unwrap();
    assert_eq!(warnings, [Warning::WorldReadable { file: path.clone(), mode: 0o644 }]);
    assert!(warnings[0].to_string().contains("(mode 0644)"), "{}", warnings[0]);
}

#[test]
fn a_file_that_cannot_be_read_is_named_with_the_cause() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sipban.conf");
    let error = Config::load(&path).unwrap_err().to_string();
    assert!(error.starts_with(&format!("{}: cannot be read: No such file", path.display())), "{error}");
    fs::write(&path, b"[ami]\nuser = a\n# contrase\xf1a\n").unwrap();
    let error = Config::load(&path).unwrap_err().to_string();
    assert!(error.starts_with(&format!("{}:3: is not UTF-8", path.display())), "{error}");
}

#[test]
fn a_reload_tells_what_waits_for_a_restart() {
    let (old, mut new) = (minimal(), minimal());
    new.limits.acl = 7;
    new.firewall.target = Target::Reject(Icmp::PortUnreachable);
    new.lengths.ban = 5;
    new.log_level = log::LevelFilter::Debug;
    assert_eq!(old.changes_needing_restart(&new), [""; 0]);
    new.ami.pass = Secret("other".to_owned());
    new.firewall.chain = "other".parse().unwrap();
    new.journal = "/other".into();
    assert_eq!(old.changes_needing_restart(&new), ["ami.pass", "iptables.chain", "state.file"]);
}

#[test]
fn after_a_reload_all_that_is_new_holds_but_what_needs_a_restart() {
    let (old, new) = (minimal(), parse(IPSET).unwrap());
    assert!(!old.changes_needing_restart(&new).is_empty());
    let reloaded = old.reloaded(new.clone());
    assert_eq!(old.changes_needing_restart(&reloaded), [""; 0]);
    // What is changed back needs nothing any more, and all else is as the file says.
    assert_eq!(new.reloaded(reloaded), new);
}

#[test]
fn every_restart_key_is_a_key() {
    let mut new = parse(IPSET).unwrap();
    new.firewall.iptables_path = None;
    for name in minimal().changes_needing_restart(&new) {
        assert!(KEYS.iter().any(|key| key.name == name), "{name}");
    }
}

/// The sample with its defaults no longer commented out: `#key = value` and `#[section]`, but not `# text`.
fn sample_uncommented() -> String {
    let is_default = |line: &str| line.starts_with(|c: char| c == '[' || c.is_ascii_lowercase());
    let uncommented = |line| str::strip_prefix(line, "#").filter(|line| is_default(line)).unwrap_or(line);
    SAMPLE.lines().map(uncommented).collect::<Vec<_>>().join("\n")
}

/// The part of a file before a section whose name is to be chosen, and that part.
fn split_at_names(text: &str) -> (String, String) {
    let sections: Vec<&str> = text.split_inclusive("\n[").collect();
    let is_named = |section: &&&str| section.contains("NAME]");
    let of = |wanted: bool| {
        let chosen = sections.iter().filter(|section| is_named(section) == wanted);
        chosen
            .map(|section| format!("[{}", section.strip_suffix("\n[").unwrap_or(section)))
            .collect::<Vec<_>>()
            .join("\n")
    };
    (of(false), of(true))
}

#[test]
fn the_sample_as_shipped_is_the_minimal_file() {
    assert_eq!(parse(SAMPLE), Ok(minimal()));
}

#[test]
fn the_sample_shows_the_defaults() {
    let (text, named) = split_at_names(&sample_uncommented());
    assert_eq!(parse(text.trim_start_matches('[')), Ok(minimal()));
    let feed = named.replace("url = \"\"", "url = /list");
    let feed = &parse(&format!("{MINIMAL}{feed}")).unwrap().feeds["NAME"];
    let default = &parse(&format!("{MINIMAL}[feed x]\nurl = /list\n")).unwrap().feeds["x"];
    assert_eq!(feed, default);
}

#[test]
fn a_feed_has_a_place_a_short_name_and_a_key_if_it_needs_one() {
    let wrong = |text: &str| parse(&format!("{MINIMAL}{text}")).unwrap_err().0[0].to_string();
    for (text, what) in [
        ("[feed x]\n", "feed x.url: must be given"),
        ("[feed x]\nurl = voipbl.org\n", "feed x.url: expected https://HOST/"),
        ("[feed x]\nurl = https://user:s3cret@host/\n", "feed x.url: expected a host without user and password"),
        ("[feed x]\nformat = apiban\n", "feed x.key: must be given for APIBAN"),
        ("[feed x]\nurl = /list\nkey = 1\n", "feed x.key: is for format = apiban alone"),
        ("[feed abcdefghijklm]\nurl = /list\n", "feed abcdefghijklm.url: the name of the feed is longer than 12"),
    ] {
        assert!(wrong(text).contains(what), "{}", wrong(text));
        assert!(!wrong(text).contains("s3cret"));
    }
    let config =
        parse(&format!("{MINIMAL}[feed a]\nformat = apiban\nkey = k\n[feed b]\nurl = file:///list\n")).unwrap();
    assert_eq!(config.feeds["b"].url, Some(FeedUrl::File("/list".into())));
}

#[test]
fn crowdsec_takes_a_server_and_all_or_nothing_of_a_machine() {
    let wrong = |text: &str| parse(&format!("{MINIMAL}[crowdsec]\n{text}")).unwrap_err().0[0].to_string();
    for (text, what) in [
        ("url = \"\"\n", "crowdsec.url: expected that of a server"),
        ("url = /list\n", "crowdsec.url: expected that of a server"),
        ("machine = pbx\n", "crowdsec.password: must be given with crowdsec.machine"),
        ("password = s3cret\n", "crowdsec.machine: must be given with crowdsec.password"),
    ] {
        assert!(wrong(text).contains(what), "{}", wrong(text));
        assert!(!wrong(text).contains("s3cret"));
    }
    assert!(parse(&format!("{MINIMAL}[feed crowdsec]\nurl = /l\n")).is_err(), "the name is taken");
    assert!(!minimal().crowdsec.is_there());
}

#[test]
fn a_feed_comes_and_goes_with_a_restart_alone() {
    let with = |text: &str| parse(&format!("{MINIMAL}{text}")).unwrap();
    let (old, new) =
        (with("[feed a]\nurl = /a\n[feed b]\nurl = /b\n"), with("[feed b]\nurl = /c\n[feed c]\nurl = /c\n"));
    assert_eq!(old.changes_needing_restart(&new), ["feed b.url", "[feed c]", "[feed a]"]);
    assert_eq!(old.reloaded(new).feeds, old.feeds);
}

#[test]
fn the_sample_has_every_key_and_no_other() {
    let text = sample_uncommented();
    let given = Given::read(&text, Path::new("conf/sipban.conf"), &KEYS);
    assert_eq!(given.errors, []);
    let known: BTreeSet<&str> = KEYS.iter().map(|key| key.name).collect();
    assert_eq!(given.values.keys().map(String::as_str).collect::<BTreeSet<_>>(), known);
}

#[test]
fn the_table_of_keys_shows_the_defaults() {
    let mut text = MINIMAL.to_owned();
    for key in KEYS.iter().filter(|key| !matches!(key.name, "ami.user" | "ami.pass") && !key.section().contains("NAME"))
    {
        text += &format!("[{}]\n{} = \"{}\"\n", key.section(), key.key(), key.default);
    }
    assert_eq!(parse(&text), Ok(minimal()));
}

#[test]
fn the_samples_of_both_files_fit_together() {
    let manager = include_str!("../../conf/manager.conf");
    let config = parse(SAMPLE).unwrap();
    assert!(manager.contains(&format!("\n[{}]\n", config.ami.user)));
    assert!(manager.contains(&format!("\nsecret = {}\n", config.ami.pass.0)));
    assert!(manager.contains("\nread = security\n") && !manager.contains("\nwrite ="));
}

proptest! {
    #[test]
    fn no_text_panics(text in any::<String>()) {
        let _ = parse(&text);
    }

    #[test]
    fn no_lines_of_keys_panic(
        lines in proptest::collection::vec((0..KEYS.len(), "[ \"']{0,2}[-#;=!a-zA-Z0-9/.,\" ']{0,20}"), 0..12)
    ) {
        let lines = lines.iter().map(|(n, value)| format!("[{}]\n{} = {value}\n", KEYS[*n].section(), KEYS[*n].key()));
        if let Err(ConfigErrors(errors)) = parse(&lines.collect::<String>()) {
            prop_assert!(!errors.is_empty());
        }
    }

    /// Whatever is wrong around it and with it, no error quotes the secret, and none is ever cut.
    #[test]
    fn a_secret_is_whole_or_an_error_and_never_shown(
        tail in "[^\\pC\\p{Z}]{0,6}[ #;\"=]{0,3}[^\\pC\\p{Z}]{0,6}Q",
        quoted in any::<bool>(),
        section in prop_oneof!["[ami]", "[am]", "ami]", "[control]"],
        key in prop_oneof!["pass", "pas", "pass pass", "password"],
        again in any::<bool>(),
    ) {
        let secret = format!("Hidden7{tail}");
        let value = if quoted { format!("\"{secret}\"") } else { secret.clone() };
        let line = format!("{section}\n{key} = {value}\n");
        match parse(&format!("{line}{}[ami]\nuser = u\n", if again { &line } else { "" })) {
            Ok(config) => {
                prop_assert_eq!(&config.ami.pass.0, &secret);
                let shown = format!("{config:?}");
                prop_assert!(!shown.contains("Hidden7"), "{}", shown);
            }
            Err(errors) => {
                let shown = format!("{errors} {errors:?}");
                prop_assert!(!shown.contains("Hidden7"), "{}", shown);
            }
        }
    }
}

#[test]
fn keys_of_trust_set_what_takes_their_place_and_are_warned_of() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("conf");
    std::fs::write(&path, format!("{MINIMAL}[limits]\ntrusted = 12\ntrust_time = 3600\n")).unwrap();
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let (config, warnings) = Config::load(&path).unwrap();
    assert_eq!((config.limits.home_guesses, config.limits.home_time), (12, 3600));
    let warnings: Vec<String> = warnings.iter().map(ToString::to_string).collect();
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(
        warnings[0].contains(":6: limits.trust_time: ") && warnings[0].contains("limits.home_time"),
        "{warnings:?}"
    );
    assert!(
        warnings[1].contains(":5: limits.trusted: ") && warnings[1].contains("limits.home_guesses"),
        "{warnings:?}"
    );
}
