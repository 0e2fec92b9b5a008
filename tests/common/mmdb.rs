//! A small database of MaxMind's format ("MaxMind DB File Format Specification", version 2.0), as a test wants it.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::net::IpAddr;

use ipnet::IpNet;

/// A value of the format.
#[derive(Clone, Debug)]
pub enum Value {
    Text(&'static str),
    U16(u16),
    U32(u32),
    U64(u64),
    List(Vec<Value>),
    Map(Vec<(&'static str, Value)>),
}

use Value::{List, Map, Text, U16, U32, U64};

/// What a network of GeoLite2-Country says.
pub fn country(code: &'static str) -> Value {
    Map(vec![("country", Map(vec![("iso_code", Text(code))]))])
}

/// What a network of GeoLite2-ASN says.
pub fn operator(number: u32, name: &'static str) -> Value {
    Map(vec![("autonomous_system_number", U32(number)), ("autonomous_system_organization", Text(name))])
}

/// The file. No network may hold another.
pub fn database(kind: &'static str, networks: &[(&str, Value)]) -> Vec<u8> {
    const EMPTY: usize = usize::MAX;
    // What a node leads to: another node, nothing, or beyond all nodes the place of a value.
    let (mut nodes, mut data) = (vec![[EMPTY; 2]], Vec::new());
    let mut leaves = Vec::new();
    for (net, value) in networks {
        let bits = bits(net.parse().unwrap());
        let (last, path) = bits.split_last().unwrap();
        let mut node = 0;
        for bit in path {
            if nodes[node][*bit] == EMPTY {
                nodes[node][*bit] = nodes.len();
                nodes.push([EMPTY; 2]);
            }
            node = nodes[node][*bit];
        }
        leaves.push((node, *last, data.len()));
        write(&mut data, value);
    }
    for (node, bit, place) in leaves {
        nodes[node][bit] = nodes.len() + 16 + place;
    }
    let mut file = Vec::new();
    for record in nodes.iter().flatten() {
        let record = if *record == EMPTY { nodes.len() } else { *record };
        file.extend(&(record as u32).to_be_bytes()[1..]);
    }
    file.extend([0; 16]);
    file.extend(data);
    file.extend(b"\xab\xcd\xefMaxMind.com");
    let metadata = vec![
        ("binary_format_major_version", U16(2)),
        ("binary_format_minor_version", U16(0)),
        ("build_epoch", U64(1_764_000_000)),
        ("database_type", Text(kind)),
        ("description", Map(vec![("en", Text("a test's own"))])),
        ("ip_version", U16(6)),
        ("languages", List(vec![Text("en")])),
        ("node_count", U32(nodes.len() as u32)),
        ("record_size", U16(24)),
    ];
    write(&mut file, &Map(metadata));
    file
}

/// The leading bits of a network of IPv6. Those of IPv4 are in ::/96.
fn bits(net: IpNet) -> Vec<usize> {
    let (address, length) = match net.addr() {
        IpAddr::V4(address) => (u128::from(u32::from(address)), 96 + net.prefix_len()),
        IpAddr::V6(address) => (u128::from(address), net.prefix_len()),
    };
    (0..length).map(|bit| (address >> (127 - bit) & 1) as usize).collect()
}

fn write(to: &mut Vec<u8>, value: &Value) {
    match value {
        Text(text) => {
            head(to, 2, text.len());
            to.extend(text.as_bytes());
        }
        U16(number) => {
            head(to, 5, 2);
            to.extend(number.to_be_bytes());
        }
        U32(number) => {
            head(to, 6, 4);
            to.extend(number.to_be_bytes());
        }
        U64(number) => {
            head(to, 9, 8);
            to.extend(number.to_be_bytes());
        }
        List(values) => {
            head(to, 11, values.len());
            values.iter().for_each(|value| write(to, value));
        }
        Map(pairs) => {
            head(to, 7, pairs.len());
            for (key, value) in pairs {
                write(to, &Text(key));
                write(to, value);
            }
        }
    }
}

/// Type and size. Types above 7 have a byte of their own, and so has what a size has above 28.
fn head(to: &mut Vec<u8>, kind: u8, size: usize) {
    let short = size.min(29) as u8;
    match kind {
        0..8 => to.push(kind << 5 | short),
        _ => to.extend([short, kind - 7]),
    }
    if short == 29 {
        to.push(u8::try_from(size - 29).expect("sizes up to 284 are enough here"));
    }
}
