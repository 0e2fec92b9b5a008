//! PBXs that share their blocks through a real redis-server: from an event at one to the first packet of the attacker that
//! is lost at another, and what a hundred others with 100,000 blocks cost.

use std::net::{Ipv4Addr, SocketAddrV4, TcpStream, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{channel, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use redis::{Cmd, Connection, Pipeline, cmd};

use crate::lab::{Backend, Lab, PBX, attacker};
use crate::latency::round;
use crate::pbx::{Pbx, attack};
use crate::report::{Goal, Report, Row, Unit, median, quantile};
use crate::{Extent, Failed};

const PORT: u16 = 6379;

/// How long the server may take to start.
const DEADLINE: Duration = Duration::from_secs(10);

/// How many others there are, and how many blocks each of them has in a full run.
const MEMBERS: usize = 100;
const BLOCKS: usize = 1_000;

/// How long the daemon is watched while the others go on.
const WATCH: Duration = Duration::from_secs(10);

pub fn measure(backend: Backend, extent: Extent, report: &mut Report) -> Result<(), Failed> {
    latency(backend, extent, report)?;
    // Chains bear fewer blocks.
    if backend.has_sets() { company(backend, extent, report) } else { Ok(()) }
}

fn latency(backend: Backend, extent: Extent, report: &mut Report) -> Result<(), Failed> {
    let lab = Lab::new(backend)?;
    let (ours, theirs) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let _server = Server::start(ours.path())?;
    let socket = UdpSocket::bind((PBX, 5060))?;
    let mut times = Vec::new();
    let rounds = extent.of(200);
    thread::scope(|scope| -> Result<(), Failed> {
        // A process dies with the thread that started it.
        let (end, ended) = channel::<()>();
        let (started, starts) = sync_channel(1);
        let (at_home, folder) = (&lab, theirs.path());
        let neighbour = lab.as_attacker(scope, move || {
            started.send(Pbx::start_with(at_home, backend, folder, &settings("neighbour"), "")?)?;
            let _ = ended.recv();
            Ok(())
        })?;
        let measured = (|| {
            let mut pbx = Pbx::start_with(&lab, backend, ours.path(), &settings("here"), "")?;
            let mut neighbour = starts.recv()?;
            pbx.wait_for(1, "FLEET => neighbour is there")?;
            for n in 0..rounds {
                let events = attack(attacker(n), n);
                times.extend(round(&lab, &socket, attacker(n), || neighbour.send(events.as_bytes()))?);
            }
            Ok(())
        })();
        drop(end);
        let lived = neighbour.join().map_err(|_| "a thread panicked")?;
        lived.and(measured)
    })?;
    if times.len() < rounds {
        let spoiled = rounds - times.len();
        report.note(&format!("fleet, {}: {spoiled} rounds spoiled by packets lost before the cut", backend.name()));
    }
    let row = |what: &str| {
        Row::new("fleet", backend, &format!("event to first lost packet at another PBX, {what}"), Unit::Seconds)
    };
    report.add(row("median").measured(median(&mut times)).goal(Goal::AtMost(0.01)));
    report.add(row("p99").measured(quantile(&mut times, 0.99)));
    Ok(())
}

/// One program is the others: what their daemons would have written is in the server before ours starts.
fn company(backend: Backend, extent: Extent, report: &mut Report) -> Result<(), Failed> {
    let lab = Lab::new(backend)?;
    let folder = tempfile::tempdir()?;
    let _server = Server::start(folder.path())?;
    let mut others = redis::Client::open(format!("redis://{PBX}:{PORT}"))?.get_connection()?;
    let each = extent.of(BLOCKS);
    let all = MEMBERS * each;
    others_block(&mut others, each)?;
    let began = Instant::now();
    let mut pbx = Pbx::start_with(&lab, backend, folder.path(), &settings("here"), "")?;
    let in_force = pbx.wait_for_in_all(all, " blocked (Failed ACL, says ")? - began;
    let before = pbx.usage()?;
    let what = |what: &str| format!("{all} blocks of {MEMBERS} others, {what}");
    let row = |text: &str, unit| Row::new("fleet", backend, &what(text), unit);
    report.add(row("start until all are in force", Unit::Seconds).measured(in_force.as_secs_f64()));
    report.add(row("CPU of that", Unit::Seconds).measured(before.own.as_secs_f64()));
    report.add(row("resident memory", Unit::Bytes).measured(before.resident));
    let (watched, mut number) = (Instant::now(), 0);
    while watched.elapsed() < WATCH {
        // Ten a second, by as many of them.
        let from = attacker(all + number);
        others_say(number % MEMBERS, &from.to_string(), now(&mut others)?).query::<()>(&mut others)?;
        number += 1;
        thread::sleep(Duration::from_millis(100));
    }
    let (own, programs) = pbx.usage()?.cpu_since(before);
    let share = (own + programs).as_secs_f64() / watched.elapsed().as_secs_f64();
    report.add(row("CPU a second with 10 more in each, programs included", Unit::Seconds).measured(share));
    // Those were lines that nobody has read yet.
    pbx.wait_for(number, " blocked (Failed ACL, says ")?;
    Ok(())
}

fn settings(name: &str) -> String {
    format!("[fleet]\nurl = redis://{PBX}:{PORT}\nname = {name}\n")
}

fn others_block(server: &mut Connection, each: usize) -> Result<(), Failed> {
    let now = now(server)?;
    for member in 0..MEMBERS {
        let mut pipe = redis::pipe();
        for number in 0..each {
            pipe.add_command(live(member, &attacker(member * each + number).to_string(), now)).ignore();
        }
        let stream = stream(member);
        pipe.add_command(cmd("XADD").arg(stream).arg("*").arg("v").arg("1").arg("is").arg("whole").to_owned()).ignore();
        pipe.query::<()>(server)?;
    }
    Ok(())
}

/// What a member writes for a block of an hour.
fn others_say(member: usize, address: &str, now: u64) -> Pipeline {
    let mut pipe = redis::pipe();
    let mut entry = cmd("XADD");
    entry.arg(stream(member)).arg("*").arg("v").arg("1").arg("is").arg("block").arg("net").arg(address);
    entry.arg("reason").arg("Failed ACL").arg("for").arg(3_600);
    pipe.add_command(live(member, address, now)).ignore().add_command(entry).ignore();
    pipe
}

fn live(member: usize, address: &str, now: u64) -> Cmd {
    cmd("ZADD")
        .arg(format!("sipban:{{main}}:b:m{member}"))
        .arg(now + 3_600)
        .arg(format!("{address}|Failed ACL"))
        .to_owned()
}

fn stream(member: usize) -> String {
    format!("sipban:{{main}}:s:m{member}")
}

fn now(server: &mut Connection) -> Result<u64, Failed> {
    let (seconds, _): (u64, u64) = cmd("TIME").query(server)?;
    Ok(seconds)
}

/// A server on the PBX, killed when dropped.
struct Server(Child);

impl Server {
    fn start(folder: &Path) -> Result<Server, Failed> {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--", "redis-server", "--port", &PORT.to_string()]);
        command.args(["--bind", "0.0.0.0", "--protected-mode", "no", "--save", "", "--dir"]).arg(folder);
        let server = Server(command.stdout(Stdio::null()).spawn().map_err(|why| format!("redis-server: {why}"))?);
        let began = Instant::now();
        let place = SocketAddrV4::new(Ipv4Addr::LOCALHOST, PORT);
        while TcpStream::connect(place).is_err() {
            if began.elapsed() > DEADLINE {
                return Err("redis-server does not start".into());
            }
            thread::sleep(Duration::from_millis(10));
        }
        Ok(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
