//! The names of a fleet's keys at the server, and what the server is to let a member do with them.
//!
//! A member's name stands at the end of each key that it alone writes. Whoever wrote an entry is therefore told by the
//! key that it stood in, and by nothing within the entry.
//!
//! PURE: no clock, no I/O.

use crate::model::member::is_name;

/// The keys of one group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys {
    /// The name is in braces, which lets a cluster keep all keys of a group in one place.
    prefix: String,
}

impl Keys {
    /// The keys of this group.
    pub fn new(group: &str) -> Keys {
        Keys { prefix: format!("sipban:{{{group}}}") }
    }

    /// The stream of what a member has to tell.
    pub fn stream(&self, name: &str) -> String {
        format!("{}:s:{name}", self.prefix)
    }

    /// A member's live blocks: a sorted set, the score being the end in seconds of the server's time.
    pub fn blocks(&self, name: &str) -> String {
        format!("{}:b:{name}", self.prefix)
    }

    /// A member's sign of life, which expires.
    pub fn beat(&self, name: &str) -> String {
        format!("{}:h:{name}", self.prefix)
    }

    /// What the keys of all members match.
    pub fn any(&self) -> String {
        format!("{}:*", self.prefix)
    }

    /// Whose stream this is. `None` for a key that is no member's stream.
    pub fn member<'a>(&self, stream: &'a str) -> Option<&'a str> {
        self.name(stream, ":s:")
    }

    /// Whose sign of life this is. `None` for a key that is no member's sign.
    pub fn living<'a>(&self, beat: &'a str) -> Option<&'a str> {
        self.name(beat, ":h:")
    }

    /// The rules of the user that a member logs in as, in the words of `ACL SETUSER` of Redis 7 or later and of Valkey:
    /// it reads all that is of its group, and writes its own three keys.
    pub fn rules(&self, name: &str) -> String {
        let own = [self.stream(name), self.blocks(name), self.beat(name)].map(|key| format!("~{key}")).join(" ");
        let commands = COMMANDS.map(|command| format!("+{command}")).join(" ");
        format!("resetkeys resetchannels %R~{} {own} -@all {commands}", self.any())
    }

    fn name<'a>(&self, key: &'a str, kind: &str) -> Option<&'a str> {
        key.strip_prefix(self.prefix.as_str())?.strip_prefix(kind).filter(|name| is_name(name))
    }
}

/// All that a member ever asks of the server.
const COMMANDS: [&str; 14] = [
    "xadd",
    "xread",
    "xinfo|stream",
    "zadd",
    "zrem",
    "zrangebyscore",
    "zremrangebyscore",
    "getrange",
    "set",
    "expire",
    "scan",
    "time",
    "ping",
    "select",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::member::MOST_NAME;

    #[test]
    fn a_stream_tells_its_member_and_nothing_else_does() {
        let keys = Keys::new("main");
        assert_eq!(keys.member(&keys.stream("pbx-1.example")), Some("pbx-1.example"));
        for key in ["sipban:{main}:b:pbx", "sipban:{other}:s:pbx", "sipban:{main}:s:", "sipban:{main}:s:a:b", "x", ""] {
            assert_eq!(keys.member(key), None, "{key}");
        }
        assert_eq!(keys.member(&keys.stream(&"x".repeat(MOST_NAME + 1))), None);
    }

    #[test]
    fn a_member_may_write_its_own_keys_and_no_pattern() {
        let rules = Keys::new("main").rules("pbx1");
        let written: Vec<&str> = rules.split(' ').filter(|word| word.starts_with('~')).collect();
        assert_eq!(written, ["~sipban:{main}:s:pbx1", "~sipban:{main}:b:pbx1", "~sipban:{main}:h:pbx1"]);
        // For a database of the fleet's own.
        assert!(rules.contains(" +select"), "{rules}");
    }
}
