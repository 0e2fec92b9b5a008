use std::net::TcpListener;
use std::thread;

use super::*;
use crate::model::clock::Recorded;

/// A connection to a server that answers the first question by this, and the time by which it is late.
#[expect(clippy::disallowed_methods, reason = "a server of the test's own")]
fn server(answer: impl FnOnce(&mut TcpStream, &Recorded) + Send + 'static) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let tcp = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let time = Recorded::default();
    let clock = Clock::recorded(&time);
    thread::spawn(move || {
        let (mut tcp, _) = listener.accept().unwrap();
        let _ = tcp.read(&mut [0; 100]).unwrap();
        answer(&mut tcp, &time);
    });
    let stream = Stream::Plain(Line { tcp, until: WHOLE, clock });
    Server { wire: Wire { stream, left: 0 }, parser: Parser::new() }
}

#[test]
fn a_server_that_sends_a_byte_now_and_then_is_given_up() {
    let mut slow = server(|tcp, time| {
        let step = PATIENCE.as_millis() as i64 - 1;
        tcp.write_all(b"+").unwrap();
        // Until the other side has gone.
        while tcp.write_all(b"x").is_ok() {
            time.set(time.now() + step);
        }
    });
    let why = slow.ask(&cmd("PING")).unwrap_err();
    assert_eq!(why.to_string(), "no whole answer within 30 s");
}

#[test]
fn nonsense_is_an_error_and_no_more() {
    let deep = |kind: &str, levels: usize| format!("{kind}1\r\n").repeat(levels).into_bytes();
    let line = |length: usize| [b"+".to_vec(), vec![b'x'; length]].concat();
    for bytes in [
        b"".to_vec(),
        b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
        b"*9223372036854775807\r\n".to_vec(),
        b"*99999999\r\n:1\r\n".to_vec(),
        b"$9223372036854775807\r\n".to_vec(),
        b"$99999999999\r\nx\r\n".to_vec(),
        b"%9223372036854775807\r\n".to_vec(),
        b"%4611686018427387904\r\n:1\r\n".to_vec(),
        b"%-1\r\n".to_vec(),
        b"|9223372036854775807\r\n".to_vec(),
        b"|-1\r\n".to_vec(),
        b"~9223372036854775807\r\n".to_vec(),
        b">9223372036854775807\r\n".to_vec(),
        b"=-1\r\n".to_vec(),
        b"!-9223372036854775808\r\n".to_vec(),
        b"!9223372036854775807\r\n".to_vec(),
        b":9223372036854775808\r\n".to_vec(),
        b"+\xff\xfe\r\n".to_vec(),
        deep("*", 50),
        deep("*", 100),
        deep("*", 100_000),
        deep("|", 100),
        deep("%", 100),
        deep(">", 100),
        line(100_000),
        line(MOST_ANSWER + 1),
        b"*1\r\n".repeat(MOST_ANSWER / 4 + 1),
    ] {
        let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(40)]).into_owned();
        // Whoever has heard enough goes.
        let mut mad = server(move |tcp, _| drop(tcp.write_all(&bytes)));
        assert!(mad.ask(&cmd("PING")).is_err(), "{shown:?}");
    }
}

#[test]
fn many_small_pieces_of_a_long_answer_are_read_in_time_that_grows_with_their_number() {
    let answer = [b"*200000\r\n".to_vec(), b":1\r\n".repeat(200_000)].concat();
    let mut good = server(move |tcp, _| answer.chunks(50).for_each(|piece| tcp.write_all(piece).unwrap()));
    assert!(matches!(good.ask(&cmd("PING")), Ok(Value::Array(values)) if values.len() == 200_000));
}
