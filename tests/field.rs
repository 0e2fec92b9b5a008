//! In a field of PBX users and attackers nobody honest is blocked, and every kind of attack is held.

#[path = "common/lab.rs"]
mod lab;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use lab::netns::Variant;
use lab::{Lab, event, wait_until};
use sipban::model::clock::Clock;

const SIPBAN: &str = env!("CARGO_BIN_EXE_sipban");

/// `limits.memory`, as it is by default.
const LIMIT: usize = 32 << 20;

/// What the program takes beside: idle, and as it is built for tests.
const BESIDE_EVIDENCE: usize = 12 << 20;

#[test]
fn a_recorded_field_is_judged_right() {
    // Two hours and a tenth of everybody; the tool makes any field, and `make field` a large one.
    thread::scope(|scope| {
        for seed in ["1", "2", "3"] {
            let prove = move || {
                let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
                let tool = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/field/field.py");
                let mut python = program("python3");
                python.arg("-B").arg(tool).args(["prove", SIPBAN]).arg(folder.path()).args([seed, "2", "0.1"]);
                let proof = python.output().expect("python3 runs the tool");
                let said = [proof.stdout, proof.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
                assert!(proof.status.success(), "seed {seed}: {}", said.concat());
            };
            thread::Builder::new().name(format!("seed-{seed}")).spawn_scoped(scope, prove).unwrap();
        }
    });
}

#[test]
fn a_million_forged_sources_that_each_name_another_account_are_held_in_bounded_memory() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let stream = folder.path().join("stream");
    mkfifo(&stream, Mode::S_IRWXU).unwrap();
    let mut sipban = program(SIPBAN)
        .arg("-c")
        .arg(folder.path().join("no-configuration"))
        .arg("replay")
        .arg(&stream)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let say = move || {
        // The program looks at the first event, and then reads from the beginning.
        while forge(&stream).is_err_and(|error| error.kind() == io::ErrorKind::BrokenPipe) {}
    };
    let asterisk = thread::Builder::new().name("asterisk".into()).spawn(say).unwrap();
    let peak = peak_memory(&mut sipban);
    assert!(sipban.wait().unwrap().success());
    asterisk.join().unwrap();
    let most = LIMIT + BESIDE_EVIDENCE;
    assert!((16 << 20..most).contains(&peak), "{peak} bytes, of {most}");
}

/// Writes a stream of a million wrong passwords, each from a source of its own, for an account of its own.
fn forge(stream: &Path) -> io::Result<()> {
    let mut stream = BufWriter::with_capacity(1 << 20, File::options().write(true).open(stream)?);
    stream.write_all(b"Asterisk Call Manager/11.0.0\r\n")?;
    for number in 0_u32..1_000_000 {
        // Far from each other: nobody has neighbours.
        let [a, b, c, d] = number.wrapping_mul(0x9E37_79B1).to_be_bytes();
        stream.write_all(&failed(&format!("{a}.{b}.{c}.{d}"), &format!("a{number}")))?;
    }
    stream.flush()
}

/// The most memory that a program occupied until its end, bytes.
fn peak_memory(program: &mut Child) -> usize {
    let mut peak = 0;
    while program.try_wait().unwrap().is_none() {
        let status = fs::read_to_string(format!("/proc/{}/status", program.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"));
        peak = line.map_or(peak, |kibibytes| kibibytes.parse::<usize>().unwrap() << 10);
        thread::sleep(Duration::from_millis(5));
    }
    peak
}

/// Offices, each with accounts of its own.
const OFFICES: u8 = 40;
const ACCOUNTS: usize = 6;

/// Offices of which a phone is broken: too few for it to be the fault of the PBX.
const BROKEN: u8 = 4;

/// The office in which, or in whose name, somebody guesses at the accounts of others.
const THIEF: u8 = OFFICES - 1;

#[test]
fn a_live_field_is_judged_right_and_who_lives_where_survives_a_kill() {
    thread::scope(|scope| {
        for seed in 1..=3 {
            thread::Builder::new().name(format!("live-{seed}")).spawn_scoped(scope, move || judge_live(seed)).unwrap();
        }
    });
}

fn judge_live(seed: u64) {
    let Some(mut lab) = Lab::new(Variant::Nft) else { return };
    lab.start();
    for office in 0..OFFICES {
        accounts(office).for_each(|account| lab.say(login(&address(office), &account)));
    }
    let homes = |lab: &Lab| lab.text("state/bans").lines().filter(|line| line.starts_with("home ")).count();
    wait_until("the journal of who lives where", || homes(&lab) == usize::from(OFFICES) * ACCOUNTS);
    lab.kill();
    lab.start();

    // Those with a broken phone have not been heard again when everything comes at once.
    for office in BROKEN..OFFICES {
        accounts(office).for_each(|account| lab.say(login(&address(office), &account)));
    }
    let (mut storm, attackers) = storm();
    shuffle(&mut storm, seed);
    storm.into_iter().for_each(|events| lab.say(events));
    let blocked: Vec<&str> = attackers.iter().map(String::as_str).collect();
    lab.wait_for_blocks(&blocked);
    assert!(seconds_blocked(&lab, &address(THIEF)) <= 600);
    assert!(seconds_blocked(&lab, &flooder(0)) > 600);

    // The database is away: everybody is refused, and nobody honest is blocked, not even one who was never there.
    for office in 0..OFFICES {
        accounts(office).for_each(|account| lab.say(unknown(&address(office), &account)));
    }
    lab.wait_for_log("PBX => refuses its own phones: ");
    assert!(lab.console("status").contains("refuses its own phones"), "{}", lab.console("status"));
    for office in 0..OFFICES {
        for account in accounts(office) {
            (0..12).for_each(|_| lab.say(unknown(&address(office), &account)));
        }
    }
    lab.say(unknown("192.0.2.50", "new"));
    for office in 0..OFFICES {
        accounts(office).for_each(|account| lab.say(login(&address(office), &account)));
    }
    lab.wait_for_log("PBX => accepts its phones again");
    lab.say(unknown("192.0.2.99", "nobody"));
    let blocked: Vec<&str> = blocked.into_iter().chain(["192.0.2.99"]).collect();
    lab.wait_for_blocks(&blocked);
    lab.stop();
}

/// What broken phones and attackers do, and who of them is to be blocked.
fn storm() -> (Vec<Vec<u8>>, BTreeSet<String>) {
    let mut events = Vec::new();
    let mut attackers = BTreeSet::new();
    let mut attack = |address: String, events: &mut Vec<Vec<u8>>, attack: Vec<Vec<u8>>| {
        events.extend(attack);
        attackers.insert(address);
    };
    for office in 0..BROKEN {
        let (address, account) = (address(office), accounts(office).next().unwrap());
        let refuse = if office % 2 == 0 { wrong } else { unknown };
        events.extend((0..25).map(|_| refuse(&address, &account)));
        events.extend((0..25).map(|_| unknown(&address, "set up wrongly")));
    }
    let victim = |number: u8| accounts(number % OFFICES).last().unwrap();
    for number in 0..20 {
        let (guesses, looks, floods, guesses_slowly) =
            (format!("192.0.2.{number}"), format!("198.51.100.{number}"), flooder(number), format!("10.66.{number}.1"));
        attack(guesses.clone(), &mut events, (0..8).map(|_| wrong(&guesses, &victim(number))).collect());
        attack(looks.clone(), &mut events, (0..9).map(|n| unknown(&looks, &format!("9{n}"))).collect());
        attack(floods.clone(), &mut events, (0..150).map(|_| challenge(&floods, &victim(number))).collect());
        let accounts = (0..12).map(|n| wrong(&guesses_slowly, &victim(n)));
        attack(guesses_slowly.clone(), &mut events, accounts.collect());
    }
    let thief = address(THIEF);
    attack(thief.clone(), &mut events, (0..30).map(|n| wrong(&thief, &victim(n % 12))).collect());
    (events, attackers)
}

/// For how many seconds this address is still blocked.
fn seconds_blocked(lab: &Lab, address: &str) -> u64 {
    let blocks: Vec<serde_json::Value> = serde_json::from_str(&lab.console("block --json")).unwrap();
    let block = blocks.iter().find(|block| block["net"] == format!("{address}/32")).unwrap();
    block["end"].as_u64().unwrap().saturating_sub(Clock::start().now().wall.0)
}

fn flooder(number: u8) -> String {
    format!("10.77.{number}.1")
}

fn address(office: u8) -> String {
    format!("203.0.113.{office}")
}

fn accounts(office: u8) -> impl Iterator<Item = String> {
    (0..ACCOUNTS).map(move |number| format!("{office}0{number}"))
}

/// Puts pieces into an order that only the seed decides; those of one sender may change places.
fn shuffle<T>(pieces: &mut [T], seed: u64) {
    let mut random = seed;
    for last in (1..pieces.len()).rev() {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        pieces.swap(last, (random >> 33) as usize % (last + 1));
    }
}

/// A login with a password.
fn login(address: &str, account: &str) -> Vec<u8> {
    let session = session();
    let challenge = event("ChallengeSent", "Informational", account, address, &session, "Challenge: \r\n");
    [challenge, event("SuccessfulAuth", "Informational", account, address, &session, "UsingPassword: 1\r\n")].concat()
}

/// A challenge that is not answered.
fn challenge(address: &str, account: &str) -> Vec<u8> {
    event("ChallengeSent", "Informational", account, address, &session(), "Challenge: \r\n")
}

/// A wrong password.
fn wrong(address: &str, account: &str) -> Vec<u8> {
    let session = session();
    let challenge = event("ChallengeSent", "Informational", account, address, &session, "Challenge: \r\n");
    [challenge, event("ChallengeResponseFailed", "Error", account, address, &session, ANSWER)].concat()
}

/// A wrong answer to a challenge that was never sent there.
fn failed(address: &str, account: &str) -> Vec<u8> {
    event("ChallengeResponseFailed", "Error", account, address, &session(), ANSWER)
}

/// A request for an account that does not exist, and the answer to its challenge.
fn unknown(address: &str, account: &str) -> Vec<u8> {
    let session = session();
    let refused = event("InvalidAccountID", "Error", account, address, &session, "");
    let challenge = event("ChallengeSent", "Informational", "<unknown>", address, &session, "Challenge: \r\n");
    let answer = event("ChallengeResponseFailed", "Error", "<unknown>", address, &session, ANSWER);
    [refused.clone(), challenge, refused, answer].concat()
}

const ANSWER: &str = "Challenge: 1764000000/0a257c107b6c7c88\r\nResponse: 3af3e4b4ca4bab5cdd5ecf01eb93a4f8\r\n\
                      ExpectedResponse: \r\n";

/// A Call-ID that was never there before.
fn session() -> String {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    format!("{}@field", NEXT.fetch_add(1, Ordering::Relaxed))
}

#[expect(clippy::disallowed_methods, reason = "the whole program is tested, as a process of its own")]
fn program(program: &str) -> Command {
    Command::new(program)
}
