//! What a start, a stop and a crash leave of the blocks.

use super::*;

#[test]
fn blocks_keep_their_end_through_a_crash() {
    let machine = Machine::new();
    let mut owner = machine.start();
    owner.turn(vec![attack("203.0.113.7"), attack("203.0.113.8")]);
    let before: Vec<_> = owner.blocks().collect();
    drop(owner);
    let mut owner = machine.start();
    assert_eq!(owner.blocks().collect::<Vec<_>>(), before);
    machine.pass(&mut owner, DAY);
    assert!(!machine.holds("203.0.113.7"));
}

#[test]
fn what_only_the_journal_knows_is_blocked_again_at_start() {
    let mut machine = Machine::new();
    let mut owner = machine.start();
    owner.turn(vec![attack("203.0.113.7")]);
    drop(owner);
    machine.kernel = Kernel::default();
    let _owner = machine.start();
    assert!(machine.holds("203.0.113.7"));
}

#[test]
fn what_only_the_kernel_knows_is_adopted_at_start() {
    let machine = Machine::new();
    *machine.kernel.0.lock().unwrap() = DryRun::holding(["203.0.113.9/32".parse().unwrap()]);
    let mut owner = machine.start();
    assert_eq!(owner.blocks().map(|(_, block)| block.reason).collect::<Vec<_>>(), [Reason::Adopted]);
    machine.pass(&mut owner, DAY);
    assert!(!machine.holds("203.0.113.9"));
}

#[test]
fn who_came_onto_the_white_list_meanwhile_is_free_at_start() {
    let machine = Machine::new();
    let mut owner = machine.start();
    owner.turn(vec![attack("203.0.113.7")]);
    drop(owner);
    machine.white_list("203.0.113.0/24\n");
    let _owner = machine.start();
    assert!(!machine.holds("203.0.113.7"));
}

#[test]
fn homes_survive_a_restart() {
    let machine = Machine::new();
    let mut owner = machine.start();
    owner.turn(vec![security(Kind::SuccessfulAuth { using_password: true }, "203.0.113.7")]);
    drop(owner);
    let mut owner = machine.start();
    owner.turn(vec![attack("203.0.113.7")]);
    assert!(!machine.holds("203.0.113.7"));
}

#[test]
fn a_clean_stop_clears_the_rules_and_the_next_start_brings_them_back() {
    let machine = Machine::new();
    let mut owner = machine.start();
    owner.turn(vec![attack("203.0.113.7")]);
    let (sender, inbox) = bounded(1);
    sender.send(Event::Shutdown).unwrap();
    owner.run(&inbox);
    assert!(!machine.holds("203.0.113.7"));
    let _owner = machine.start();
    assert!(machine.holds("203.0.113.7"));
}

#[test]
fn who_was_freed_at_start_stays_free_when_he_leaves_the_white_list() {
    let machine = Machine::new();
    let mut owner = machine.start();
    owner.turn(vec![attack("203.0.113.7"), attack("203.0.113.8")]);
    let (sender, inbox) = bounded(1);
    sender.send(Event::Shutdown).unwrap();
    owner.run(&inbox);
    machine.white_list("203.0.113.7\n");
    drop(machine.start());
    machine.white_list("");
    let _owner = machine.start();
    assert!(!machine.holds("203.0.113.7") && machine.holds("203.0.113.8"));
}

#[test]
fn what_the_kernel_did_not_free_at_start_is_tried_again() {
    let machine = Machine::new();
    drop({
        let mut owner = machine.start();
        owner.turn(vec![attack("203.0.113.7")]);
        owner
    });
    machine.white_list("203.0.113.7\n");
    machine.kernel.refuse(&["203.0.113.7/32"]);
    let mut owner = machine.start();
    assert!(machine.holds("203.0.113.7"));
    assert_eq!(owner.blocks().count(), 1);
    machine.kernel.refuse(&[]);
    machine.pass(&mut owner, 1);
    assert!(!machine.holds("203.0.113.7"));
    assert_eq!(owner.blocks().count(), 0);
}

#[test]
fn what_the_kernel_does_not_take_stays_in_a_journal_written_anew() {
    let machine = Machine::new();
    let mut owner = machine.start();
    owner.turn(vec![attack("203.0.113.7")]);
    let (sender, inbox) = bounded(1);
    sender.send(Event::Shutdown).unwrap();
    owner.run(&inbox);
    machine.kernel.refuse(&["203.0.113.7/32"]);
    let owner = machine.start();
    fs::remove_file(machine.folder.path().join("bans")).unwrap();
    owner.run(&{
        let (sender, inbox) = bounded(1);
        sender.send(Event::Shutdown).unwrap();
        inbox
    });
    let mut owner = machine.start();
    let net = "203.0.113.7/32".parse().unwrap();
    assert_eq!(owner.pending.blocks().map(|(net, _)| net).collect::<Vec<_>>(), [net]);
    ask(&mut owner, Request::Unblock(net));
    drop(owner);
    machine.kernel.refuse(&[]);
    let _owner = machine.start();
    assert!(!machine.holds("203.0.113.7"));
}

#[test]
fn a_start_adds_to_the_journal_only_what_it_does_not_know() {
    let machine = Machine::new();
    let journal = || fs::read_to_string(machine.folder.path().join("bans")).unwrap();
    let mut owner = machine.start();
    owner.turn(vec![attack("203.0.113.7"), attack("203.0.113.8")]);
    drop(owner);
    let before = journal();
    // As after a kill: however often it starts, the file does not grow.
    for _ in 0..3 {
        assert_eq!(machine.start().blocks().count(), 2);
    }
    assert_eq!(journal(), before);
    let held = ["203.0.113.7/32", "203.0.113.8/32", "192.0.2.9/32"].map(|net| net.parse().unwrap());
    *machine.kernel.0.lock().unwrap() = DryRun::holding(held);
    drop(machine.start());
    let news = journal();
    assert!(news.starts_with(&before) && news[before.len()..].starts_with("block 192.0.2.9/32 "), "{news}");
    drop(machine.start());
    assert_eq!(journal(), news);
}

#[test]
fn of_a_journal_with_more_blocks_than_there_is_room_for_the_surest_are_taken() {
    let machine = Machine::new();
    let mut journal = Journal::open(&machine.folder.path().join("bans")).unwrap().0;
    let now = machine.start_time();
    let block = |n: u64| {
        let net: IpNet = format!("198.51.100.{n}/32").parse().unwrap();
        let proof = if n < 10 { Proof::Shaken } else { Proof::Claimed };
        Record::Block(net, Block { proof, ..Block::new(now, now + 1000 + n, Reason::InvalidAccount) })
    };
    journal.append((0..150).map(block)).unwrap();
    drop(journal);
    let owner = machine.start();
    assert_eq!(owner.blocks().count(), 100);
    assert!(machine.holds("198.51.100.0") && !machine.holds("198.51.100.10") && machine.holds("198.51.100.149"));
    drop(owner);
    let recovered = Journal::open(&machine.folder.path().join("bans")).unwrap().1;
    assert_eq!(recovered.blocks.len(), 100);
}

#[test]
fn what_the_kernel_does_not_take_stays_in_a_journal_written_anew_while_it_is_tried() {
    let machine = Machine::new();
    let mut owner = machine.start();
    owner.turn(vec![attack("203.0.113.7")]);
    drop(owner);
    let net = "203.0.113.7/32";
    machine.kernel.0.lock().unwrap().tear_down().unwrap();
    machine.kernel.refuse(&[net]);
    let mut owner = machine.start();
    let file = machine.folder.path().join("bans");
    fs::remove_file(&file).unwrap();
    // A new one is there when it is on the disk.
    for _ in 0..2000 {
        machine.pass(&mut owner, 1);
        if file.exists() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    drop(owner);
    machine.kernel.refuse(&[]);
    let _owner = machine.start();
    assert!(machine.holds("203.0.113.7"));
}
