//! The backends against the real netfilter, of both kinds and for both address families, in namespaces of the tests' own.

#[path = "netfilter/adoption.rs"]
mod adoption;
#[path = "common/bed.rs"]
mod bed;
#[path = "netfilter/blocks.rs"]
mod blocks;
#[path = "netfilter/chain.rs"]
mod chain;
#[path = "netfilter/fire.rs"]
mod fire;
#[path = "netfilter/ipset.rs"]
mod ipset;
#[path = "common/netns.rs"]
mod netns;
#[path = "netfilter/nft.rs"]
mod nft;
#[path = "netfilter/others.rs"]
mod others;
#[path = "netfilter/packets.rs"]
mod packets;
#[path = "netfilter/scope.rs"]
mod scope;
#[path = "netfilter/shield.rs"]
mod shield;
#[path = "netfilter/shield_rules.rs"]
mod shield_rules;
#[path = "netfilter/trouble.rs"]
mod trouble;
