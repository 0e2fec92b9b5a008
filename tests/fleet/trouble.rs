//! The server goes, comes back empty or with what it knew, hangs, is full, turns into a replica.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread;

use crossbeam_channel::unbounded;
use sipban::fleet::votes::Lacks;
use sipban::fleet::{Heard, Link, Side};

use crate::member::Member;
use crate::redis::Redis;

fn is_down(side: Side, because: &str) -> impl Fn(&Heard) -> bool + '_ {
    move |heard| matches!(heard, Heard::Link(of, Link::Down { why }) if *of == side && why.contains(because))
}

fn is_up(side: Side) -> impl Fn(&Heard) -> bool {
    move |heard| matches!(heard, Heard::Link(of, Link::Up) if *of == side)
}

/// Two members that know each other, and a block of the first that the second heard of.
fn pair(redis: &Redis) -> (Member, Member) {
    let (mut one, mut two) = (Member::join("pbx1", redis.port()), Member::join("pbx2", redis.port()));
    one.settle();
    two.settle();
    one.block("198.51.100.7", 3_600);
    two.wait_for_block("pbx1", "198.51.100.7");
    (one, two)
}

#[test]
fn a_server_that_was_restarted_empty_is_told_everything_again_and_frees_nobody() {
    let mut redis = Redis::start(&[]);
    let (mut one, mut two) = pair(&redis);
    redis.kill();
    one.block("198.51.100.8", 3_600);
    one.wait_for("the loss", is_down(Side::Writing, ""));
    two.wait_for("the loss", is_down(Side::Reading, ""));
    two.forget();
    redis.resume();
    two.wait_for_block("pbx1", "198.51.100.7");
    two.wait_for_block("pbx1", "198.51.100.8");
    for heard in two.heard() {
        if let Heard::Set { set, lacks: Lacks::Ended, .. } = heard {
            assert_eq!(set.len(), 2, "a set that ends what it lacks is whole: {heard:?}");
        }
        assert!(!format!("{heard:?}").contains("Unblock"), "{heard:?}");
    }
}

#[test]
fn what_was_withdrawn_while_the_server_was_away_is_withdrawn_when_it_is_back() {
    let mut redis = Redis::start(&["--appendonly", "yes", "--appendfsync", "always"]);
    let (mut one, mut two) = pair(&redis);
    redis.kill();
    one.unblock("198.51.100.7");
    one.wait_for("the loss", is_down(Side::Writing, ""));
    redis.resume();
    two.wait_for("the withdrawal", |heard| format!("{heard:?}").contains("Unblock(198.51.100.7/32)"));
}

#[test]
fn a_server_emptied_behind_our_back_is_told_everything_at_the_next_sign_of_life() {
    let redis = Redis::start(&[]);
    let (_one, mut two) = pair(&redis);
    two.forget();
    redis.say(&["FLUSHALL"]);
    two.wait_for_block("pbx1", "198.51.100.7");
}

#[test]
fn a_server_that_hangs_is_given_up_and_holds_up_nobody() {
    let redis = Redis::start(&[]);
    let (mut one, _two) = pair(&redis);
    redis.freeze();
    one.block("198.51.100.8", 60);
    one.wait_for("the reader to give up", is_down(Side::Reading, "no answer within 5 s"));
    one.wait_for("the writer to give up", is_down(Side::Writing, "no answer within 5 s"));
    for n in 0..1_000 {
        one.block(&format!("198.51.{}.{}", n / 250, n % 250 + 1), 60);
    }
    redis.wake();
    one.wait_for("the writer to be back", is_up(Side::Writing));
    assert_eq!(one.fleet.waiting(), 0);
}

#[test]
fn more_orders_than_there_is_room_for_are_counted_and_made_up_for() {
    let redis = Redis::start(&[]);
    let (mut one, mut two) = pair(&redis);
    redis.freeze();
    for n in 0..450 {
        one.block(&format!("198.51.{}.{}", n / 250, n % 250 + 1), 3_600);
    }
    assert!(one.fleet.missed() > 0);
    redis.wake();
    // The last of them found no room.
    two.wait_for_block("pbx1", "198.51.1.200");
}

#[test]
fn a_server_that_is_full_is_said_to_be_and_told_again_when_it_has_room() {
    let redis = Redis::start(&["--maxmemory", "1gb"]);
    let (mut one, mut two) = pair(&redis);
    redis.say(&["CONFIG", "SET", "maxmemory", "1"]);
    one.block("198.51.100.8", 3_600);
    one.wait_for("the refusal", is_down(Side::Writing, "OOM"));
    redis.say(&["CONFIG", "SET", "maxmemory", "1gb"]);
    one.wait_for("room", is_up(Side::Writing));
    two.wait_for_block("pbx1", "198.51.100.8");
}

#[test]
fn a_server_that_became_a_replica_is_left_and_tried_again() {
    let redis = Redis::start(&[]);
    let (mut one, mut two) = pair(&redis);
    redis.say(&["REPLICAOF", "127.0.0.1", "1"]);
    one.block("198.51.100.8", 3_600);
    one.wait_for("the refusal", is_down(Side::Writing, "READONLY"));
    redis.say(&["REPLICAOF", "NO", "ONE"]);
    one.wait_for("the way back", is_up(Side::Writing));
    two.wait_for_block("pbx1", "198.51.100.8");
}

#[test]
fn more_blocks_of_our_own_than_one_answer_can_hold_are_put_right() {
    let redis = Redis::start(&[]);
    let script = "for i = 1, 100000 do local a = string.format('11.%d.%d.%d', i / 65536, i / 256 % 256, i % 256) \
                  redis.call('ZADD', KEYS[1], 99999999999, a .. '|Challenge Failed') end return 1";
    redis.say(&["EVAL", script, "1", "sipban:{main}:b:pbx1"]);
    let mut one = Member::join("pbx1", redis.port());
    one.settle();
    assert_eq!(redis.say(&["ZCARD", "sipban:{main}:b:pbx1"]), "0");
}

#[test]
fn a_server_whose_answers_have_no_end_is_said_to_be_and_left_for_a_while() {
    let mad = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = mad.local_addr().unwrap().port();
    let (sender, asked) = unbounded();
    let answer_all = move || {
        for tcp in mad.incoming() {
            let mut tcp = tcp.unwrap();
            let _ = tcp.read(&mut [0; 100]);
            // Whoever has heard enough goes.
            let _ = tcp.write_all(&vec![b'+'; 8 << 20]);
            if sender.send(()).is_err() {
                return;
            }
        }
    };
    thread::Builder::new().name("mad".into()).spawn(answer_all).unwrap();
    let mut one = Member::join("pbx1", port);
    one.wait_for("the word about it", is_down(Side::Reading, "an answer is longer than"));
    assert!(asked.try_iter().count() < 10);
}
