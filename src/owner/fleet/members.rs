//! Who is there, and whether the server is.

use ipnet::IpNet;
use log::{Level, info};

use super::super::Owner;
use super::Others;
use crate::fleet::sign::Sign;
use crate::fleet::votes::Votes;
use crate::fleet::{Link, Side};
use crate::logging::escape;
use crate::model::allowlist::Allowlist;
use crate::model::clock::Now;

impl Owner {
    /// One of the two connections works, or does not.
    pub(super) fn note_link(&mut self, others: &mut Others, side: Side, link: Link, now: Now) {
        let (place, what) = match side {
            Side::Reading => (0, "reading"),
            Side::Writing => (1, "writing"),
        };
        let (up, text) = match link {
            Link::Up => (true, String::new()),
            Link::Down { why } => (false, escape(&why).to_string()),
        };
        let known = &mut others.links[place];
        if up && !known.up {
            info!("FLEET => {what} works");
        } else if !up && (known.up || known.text != text) {
            let text = format!("FLEET => {what} does not work ({text}); what is blocked stays blocked");
            self.say_once(Level::Warn, &text, now);
        }
        if up != known.up {
            known.since = now.wall;
        }
        (known.up, known.text) = (up, text);
    }

    /// Who is there, and which addresses are theirs.
    pub(super) fn note_members(&mut self, others: &mut Others, signs: Vec<Sign>, now: Now) {
        let is_alive =
            |signs: &[Sign], name: &str| signs.iter().any(|sign| sign.name == name && sign.content.is_some());
        for Sign { name, content } in &signs {
            match content {
                Some(content) if !is_alive(&others.members, name) => {
                    self.say_once(Level::Info, &format!("FLEET => {name} is there (SIPban {})", content.version), now);
                }
                None if is_alive(&others.members, name) => {
                    self.say_once(Level::Warn, &format!("FLEET => {name} gives no sign of life"), now);
                }
                _ => {}
            }
        }
        let lost = others.votes.meet(&signs, now.wall);
        self.think_over(others, lost, now);
        others.members = signs;
        let addresses = addresses(&others.votes);
        if addresses != others.addresses {
            others.addresses = addresses;
            others.changed = true;
            let met = others.book.by_end().map(|(net, _)| net).filter(|net| others.addresses.meets(net));
            let met: Vec<IpNet> = met.collect();
            self.think_over(others, met, now);
        }
    }
}

/// The addresses that members call their own.
pub(super) fn addresses(votes: &Votes) -> Allowlist {
    votes.addresses().map(IpNet::from).collect()
}
