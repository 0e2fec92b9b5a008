//! A member that went mad: it says too much, at too great a length, and what is none of its business.

use std::fmt::Write;

use sipban::fleet::budget::{A_MINUTE, MOST_LIVE};
use sipban::fleet::entry::Entry;
use sipban::fleet::{Heard, Link, Side};

use crate::member::Member;
use crate::redis::Redis;

const STREAM: &str = "sipban:{main}:s:mad";
const BLOCKS: &str = "sipban:{main}:b:mad";

fn entries_of(heard: &[Heard], wanted: &str) -> usize {
    let of = |heard: &Heard| match heard {
        Heard::Entries { origin, entries, .. } if origin == wanted => entries.len(),
        _ => 0,
    };
    heard.iter().map(of).sum()
}

#[test]
fn hundreds_of_thousands_of_blocks_of_one_are_read_at_its_budget_and_another_is_heard_at_once() {
    let redis = Redis::start(&[]);
    redis.say(&["XADD", STREAM, "*", "v", "1", "is", "whole"]);
    let (mut one, mut two) = (Member::join("pbx1", redis.port()), Member::join("pbx2", redis.port()));
    one.settle();
    two.settle();
    two.wait_for_member("pbx1");
    let script = "for i = 1, 300000 do local a = string.format('11.%d.%d.%d', i / 65536, i / 256 % 256, i % 256) \
                  redis.call('XADD', KEYS[1], 'MAXLEN', '~', 20000, '*', 'v', '1', 'is', 'block', 'net', a, 'for', 60) \
                  end return 1";
    redis.say(&["EVAL", script, "1", STREAM]);
    one.block("198.51.100.7", 3_600);
    two.wait_for_block("pbx1", "198.51.100.7");
    two.wait_for("the mad one's", |heard| entries_of(std::slice::from_ref(heard), "mad") > 0);
    one.block("198.51.100.8", 3_600);
    two.wait_for_block("pbx1", "198.51.100.8");
    // The deadline of a wait is a minute, so that two minutes' budgets are more than was read by now.
    assert!(entries_of(two.heard(), "mad") <= 2 * A_MINUTE as usize + 50);
}

#[test]
fn of_a_set_without_end_so_many_blocks_are_read() {
    let redis = Redis::start(&[]);
    let script = "for i = 1, 200000 do local a = string.format('11.%d.%d.%d', i / 65536, i / 256 % 256, i % 256) \
                  redis.call('ZADD', KEYS[1], 99999999999, a .. '|Failed ACL') end return 1";
    redis.say(&["EVAL", script, "1", BLOCKS]);
    redis.say(&["XADD", STREAM, "*", "v", "1", "is", "whole"]);
    let mut one = Member::join("pbx1", redis.port());
    let set = one.wait_for("the set", |heard| matches!(heard, Heard::Set { .. }));
    let Heard::Set { set, .. } = set else { unreachable!() };
    assert_eq!(set.len(), MOST_LIVE);
}

#[test]
fn an_entry_of_many_megabytes_mutes_who_wrote_it_and_nobody_else() {
    let redis = Redis::start(&[]);
    let mut one = Member::join("pbx1", redis.port());
    one.settle();
    let mut two = Member::join("pbx2", redis.port());
    two.settle();
    redis.say(&["XADD", STREAM, "*", "v", "1", "is", "whole"]);
    two.wait_for_member("pbx1");
    two.wait_for("mad", |heard| matches!(heard, Heard::Members(signs) if signs.iter().any(|s| s.name == "mad")));
    let big = "redis.call('XADD', KEYS[1], '*', 'v', string.rep('x', 64000000)) return 1";
    redis.say(&["EVAL", big, "1", STREAM]);
    let unfit = two.wait_for("the word about it", |heard| matches!(heard, Heard::Unfit { .. }));
    assert!(format!("{unfit:?}").contains("\"mad\"") && format!("{unfit:?}").contains("too long"), "{unfit:?}");
    one.block("198.51.100.7", 3_600);
    two.wait_for_block("pbx1", "198.51.100.7");
}

#[test]
fn what_is_none_of_its_business_is_dropped_and_said() {
    let redis = Redis::start(&[]);
    redis.say(&["XADD", STREAM, "*", "v", "1", "is", "whole"]);
    let mut one = Member::join("pbx1", redis.port());
    one.settle();
    one.wait_for("mad", |heard| matches!(heard, Heard::Set { .. }));
    let mut lines = String::new();
    for net in ["0.0.0.0/0", "::/0", "10.0.0.1", "127.0.0.1", "198.51.100.0/24", "nonsense", "198.51.100.7"] {
        writeln!(lines, "XADD {STREAM} * v 1 is block net {net} reason x for 60").unwrap();
    }
    writeln!(lines, "XADD {STREAM} * v 1 is pardon net 198.51.100.9 for 60").unwrap();
    writeln!(lines, "XADD {STREAM} * v 1 is block net 198.51.100.8 for 60").unwrap();
    redis.say_lines(&lines);
    one.wait_for("the last", |heard| format!("{heard:?}").contains("198.51.100.8"));
    let mut said = Vec::new();
    for heard in one.heard() {
        if let Heard::Entries { entries, .. } = heard {
            said.extend(entries.iter().map(|entry| match entry {
                Entry::Block { net, .. } => net.to_string(),
                other => format!("{other:?}"),
            }));
        }
    }
    assert!(said.iter().all(|net| net == "198.51.100.7/32" || net == "198.51.100.8/32"), "{said:?}");
    one.wait_for("a word about it", |heard| matches!(heard, Heard::Unfit { origin, .. } if origin == "mad"));
}

#[test]
fn keys_that_are_no_members_are_nobodys() {
    let redis = Redis::start(&[]);
    for key in ["sipban:{main}:s:a:b", "sipban:{main}:s:", "sipban:{main}:s:x y"] {
        redis.say(&["XADD", key, "*", "v", "1", "is", "block", "net", "198.51.100.7", "for", "60"]);
    }
    redis.say(&["SET", "sipban:{main}:s:text", "no stream"]);
    let (mut one, mut two) = (Member::join("pbx1", redis.port()), Member::join("pbx2", redis.port()));
    one.settle();
    two.block("198.51.100.8", 60);
    one.wait_for_block("pbx2", "198.51.100.8");
    assert!(!format!("{:?}", one.heard()).contains("198.51.100.7"));
}

#[test]
fn a_stream_that_becomes_something_else_keeps_nobody_from_reading_the_others() {
    let redis = Redis::start(&[]);
    redis.say(&["XADD", STREAM, "*", "v", "1", "is", "whole"]);
    let (mut one, mut two) = (Member::join("pbx1", redis.port()), Member::join("pbx2", redis.port()));
    one.settle();
    one.wait_for_member("pbx2");
    one.wait_for("mad", |heard| matches!(heard, Heard::Set { origin, .. } if origin == "mad"));
    redis.say(&["SET", STREAM, "no stream"]);
    two.block("198.51.100.8", 60);
    one.wait_for_block("pbx2", "198.51.100.8");
    let unfit = one.wait_for("the word about it", |heard| matches!(heard, Heard::Unfit { .. }));
    assert!(format!("{unfit:?}").contains("\"mad\""), "{unfit:?}");
    let is_down = |heard: &Heard| matches!(heard, Heard::Link(Side::Reading, Link::Down { .. }));
    assert!(!one.heard().iter().any(is_down));
}

#[test]
fn a_crowd_that_is_gone_for_good_takes_nobodys_voice() {
    let redis = Redis::start(&[]);
    let script = "for i = 1, 400 do redis.call('XADD', 'sipban:{main}:s:Gone' .. i, '*', 'v', '1', 'is', 'whole') end";
    redis.say(&["EVAL", script, "0"]);
    let (mut one, mut two) = (Member::join("pbx1", redis.port()), Member::join("pbx2", redis.port()));
    one.settle();
    two.block("198.51.100.7", 3_600);
    one.wait_for_block("pbx2", "198.51.100.7");
}
