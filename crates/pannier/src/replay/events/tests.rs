//! Every edge of the reader, each with a row small enough to see; then all bytes there are.

use super::*;
use crate::replay::rows::ROW_BYTES_MAX;
use std::io::{BufReader, Read};

const HEADER: &str = "event_time,event_type,product_id,price,user_id,user_session\n";
const GOOD: &str = "2022-10-01 00:00:00 UTC,cart,p1,2.62,u1,s1\n";

fn read(log: impl AsRef<[u8]>) -> Vec<Result<Event, RowError>> {
    EventReader::new(log.as_ref()).unwrap().collect()
}

/// What one bad row between two good ones is refused for; the good ones must come through.
fn reason(row: impl AsRef<[u8]>) -> Reason {
    let log = [HEADER.as_bytes(), GOOD.as_bytes(), row.as_ref(), b"\n", GOOD.as_bytes()].concat();
    let items = read(log);
    assert_eq!(items.len(), 3, "{items:?}");
    assert!(items[0].is_ok() && items[2].is_ok(), "{items:?}");
    match &items[1] {
        Err(RowError::Malformed(Malformed { line: 3, reason })) => reason.clone(),
        other => panic!("{other:?}"),
    }
}

/// A good row with one field replaced.
fn with(column: usize, field: &str) -> String {
    let mut fields: Vec<_> = GOOD.trim_end().split(',').collect();
    fields[column] = field;
    fields.join(",")
}

fn header(log: &str) -> String {
    match EventReader::new(log.as_bytes()) {
        Ok(_) => panic!("accepted"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn a_row_becomes_an_event() {
    let items = read([HEADER, GOOD].concat());
    let want = Event {
        line: 2,
        time_ms: 1_664_582_400_000,
        kind: Kind::Cart,
        product: "p1".into(),
        user: "u1".into(),
        session: "s1".into(),
    };
    assert_eq!(items.len(), 1);
    assert_eq!(items[0].as_ref().unwrap(), &want);
}

#[test]
fn all_kinds_have_their_word() {
    for (kind, word) in Kind::ALL.into_iter().zip(["view", "cart", "remove_from_cart", "purchase"])
    {
        let items = read([HEADER, &with(1, word)].concat());
        assert_eq!(items[0].as_ref().unwrap().kind, kind);
    }
}

#[test]
fn columns_are_found_by_name_among_others() {
    let log = "brand,user_session,user_id,price,note,product_id,event_type,event_time,note\n\
               acme,s1,u1,,n,p1,view,2022-10-01 00:00:00 UTC,m\n";
    let event = read(log).remove(0).unwrap();
    assert_eq!((&*event.product, &*event.user, &*event.session), ("p1", "u1", "s1"));
    assert_eq!(event.kind, Kind::View);
}

#[test]
fn a_missing_column_is_named() {
    let got = header("event_time,event_type,product_id,price,user_session\n");
    assert_eq!(got, "the header has no column user_id");
    assert!(header("a;b\n").contains("event_time, event_type, product_id"));
    assert!(header(GOOD).contains("no column event_time"), "a log without a header");
}

#[test]
fn a_repeated_column_is_named() {
    let got = header("event_time,event_type,product_id,price,user_id,user_session,price\n");
    assert_eq!(got, "the header has the column price more than once");
}

#[test]
fn no_header_at_all() {
    assert!(header("").contains("empty"));
    assert!(header("\r\n\n").contains("empty"));
    assert!(header("\u{feff}").contains("empty"));
    assert_eq!(header("\"event_time\n"), "line 1, the header, cannot be read: quote left open");
    assert!(header(&"x".repeat(ROW_BYTES_MAX + 1)).contains("row of more than 65536 bytes"));
}

#[test]
fn a_log_of_nothing_but_a_header() {
    assert!(read(HEADER).is_empty());
    assert!(read(HEADER.trim_end()).is_empty());
}

#[test]
fn bom_crlf_blank_lines_and_no_last_line_end() {
    let log = format!("\u{feff}\n{HEADER}{GOOD}\n{}", GOOD.trim_end()).replace('\n', "\r\n");
    let lines: Vec<_> = read(log).into_iter().map(|item| item.unwrap().line).collect();
    assert_eq!(lines, [3, 5]);
    assert_eq!(read([HEADER, GOOD, "\r"].concat()).len(), 1);
}

#[test]
fn quoted_fields() {
    let header = HEADER.replace("price", "\"price\"").replace('\n', ",title\n");
    let row = "\"2022-10-01 00:00:00 UTC\",\"cart\",\"p,\"\"1\"\"\",2,u1,s1,\"two\nlines\"\n";
    let good = GOOD.replace('\n', ",t\n");
    let items = read([&header, row, &good].concat());
    assert_eq!(&*items[0].as_ref().unwrap().product, "p,\"1\"");
    assert_eq!(items[1].as_ref().unwrap().line, 4);
}

#[test]
fn ragged_rows() {
    assert_eq!(reason("2022-10-01 00:00:00 UTC,cart"), Reason::Width { have: 2, want: 6 });
    assert_eq!(reason(with(5, "s1,more")), Reason::Width { have: 7, want: 6 });
    assert_eq!(reason("  "), Reason::Width { have: 1, want: 6 });
    assert_eq!(reason("\"\""), Reason::Width { have: 1, want: 6 });
}

#[test]
fn a_stray_quote_costs_its_row_only() {
    assert_eq!(reason(with(2, "\"p1")), Reason::QuoteOpen);
    assert_eq!(reason(with(0, "\"")), Reason::QuoteOpen);
    let long = [HEADER, &with(2, "\"p1"), "\n", &GOOD.repeat(5_000)].concat();
    assert_eq!(read(long).iter().filter(|item| item.is_ok()).count(), 5_000);
}

/// Two stray quotes, rows apart, frame everything between them as one field. It has the wrong
/// number of fields, or a line end in an id; either way only the rows with the quotes are lost.
#[test]
fn two_stray_quotes_cost_their_two_rows() {
    let log = [HEADER, &with(2, "\"p1"), "\n", GOOD, GOOD, &with(2, "p1\""), "\n", GOOD].concat();
    let kept: Vec<_> = read(log).into_iter().filter_map(|item| Some(item.ok()?.line)).collect();
    assert_eq!(kept, [3, 4, 5, 6], "a quote at the end of a plain field is a byte like any other");

    let first = with(5, "\"s1");
    let log = [HEADER, &first, "\n", GOOD, "\"\n", GOOD].concat();
    let kept: Vec<_> = read(log).into_iter().filter_map(|item| Some(item.ok()?.line)).collect();
    assert_eq!(kept, [3, 5], "the width is right, the session is not");
}

#[test]
fn bytes_that_are_no_text() {
    assert_eq!(reason([with(2, "p").as_bytes(), b"\xFF"].concat()), Reason::NotUtf8);
    assert_eq!(reason(b"2022-10-01 00:00:00 UTC,cart,\xC3,\xA9,u1,s1"), Reason::NotUtf8);
    assert_eq!(reason(b"\0\0\0\0"), Reason::Width { have: 1, want: 6 });
}

#[test]
fn ids_empty_long_or_unprintable() {
    assert_eq!(reason(with(2, "")), Reason::EmptyId { column: "product_id" });
    assert_eq!(reason(with(4, "")), Reason::EmptyId { column: "user_id" });
    let long = "x".repeat(ID_BYTES_MAX + 1);
    assert_eq!(reason(with(2, &long)), Reason::LongId { column: "product_id", bytes: 256 });
    assert_eq!(reason(with(4, &long)), Reason::LongId { column: "user_id", bytes: 256 });
    assert_eq!(reason(with(5, &long)), Reason::LongId { column: "user_session", bytes: 256 });
    assert_eq!(reason(with(4, "u\u{1b}[2J")), Reason::ControlInId { column: "user_id" });
    let log = [HEADER, &with(4, &long[1..]), "\n", &with(5, "")].concat();
    assert!(read(log).iter().all(Result::is_ok), "255 bytes fit, and a visit may be unnamed");
}

#[test]
fn words_that_are_no_event_type() {
    assert_eq!(reason(with(1, "swap")), Reason::UnknownType { word: "swap".into() });
    for word in ["", "View", " cart", "remove"] {
        assert_eq!(reason(with(1, word)), Reason::UnknownType { word: word.into() });
    }
    let Reason::UnknownType { word } = reason(with(1, &"\u{1b}".repeat(1_000))) else { panic!() };
    assert!(word.len() < 400 && word.ends_with('…') && !word.contains('\u{1b}'), "{word}");
}

#[test]
fn times() {
    for (text, want) in [
        ("1970-01-01 00:00:00 UTC", 0),
        ("1969-12-31 23:59:59 UTC", -1),
        ("2000-02-29 12:00:00 UTC", 951_825_600),
        ("2022-10-01 00:00:00 UTC", 1_664_582_400),
        ("2024-02-29 23:59:59 UTC", 1_709_251_199),
        ("9999-12-31 23:59:59 UTC", 253_402_300_799),
        ("0000-01-01 00:00:00 UTC", -62_167_219_200),
    ] {
        assert_eq!(parse_time(text), Some(want * 1000), "{text}");
    }
    for text in [
        "",
        "2022-10-01",
        "2022-10-01 00:00:00",
        "2022-10-01T00:00:00 UTC",
        "2022-10-01 00:00:00 CET",
        "2022-10-01 00:00:00 UTC ",
        "2022-1-001 00:00:00 UTC",
        "2022-+1-01 00:00:00 UTC",
        "2022-00-01 00:00:00 UTC",
        "2022-13-01 00:00:00 UTC",
        "2022-10-00 00:00:00 UTC",
        "2022-04-31 00:00:00 UTC",
        "2022-02-29 00:00:00 UTC",
        "1900-02-29 00:00:00 UTC",
        "2022-10-01 24:00:00 UTC",
        "2022-10-01 00:60:00 UTC",
        "2022-10-01 23:59:60 UTC",
        "2022-10-01 00:00:00 UTÇ",
    ] {
        assert_eq!(reason(with(0, text)), Reason::BadTime { text: text.into() });
    }
}

/// Each day follows the one before it by 86,400 s, over more than one cycle of 400 years.
#[test]
fn every_day_has_its_second() {
    let (mut last, mut days) = (None, 0_u32);
    for year in 1900..2310 {
        for month in 1..=12 {
            for day in 1..=31 {
                let text = format!("{year}-{month:02}-{day:02} 00:00:00 UTC");
                let Some(time) = parse_time(&text) else { continue };
                assert!(last.is_none_or(|last| time - last == 86_400_000), "{text}");
                last = Some(time);
                days += 1;
            }
        }
    }
    assert_eq!(days, 410 * 365 + 99);
}

#[test]
fn rows_longer_than_the_limit() {
    assert_eq!(reason(with(3, &"9".repeat(ROW_BYTES_MAX))), Reason::TooLong);
    assert_eq!(reason(with(3, &"9".repeat(ROW_BYTES_MAX * 20))), Reason::TooLong);
    let fits = with(3, &"9".repeat(ROW_BYTES_MAX - 100));
    assert!(read([HEADER, &fits].concat()).remove(0).is_ok());
}

#[test]
fn an_input_that_fails_ends_the_reading() {
    struct Failing;
    impl Read for Failing {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("gone"))
        }
    }
    let log = [HEADER, GOOD].concat();
    let input = BufReader::new(log.as_bytes().chain(Failing));
    let items: Vec<_> = EventReader::new(input).unwrap().collect();
    assert_eq!(items.len(), 2);
    assert!(matches!(items[1], Err(RowError::Io { line: 2, .. })));
    assert!(matches!(EventReader::new(BufReader::new(Failing)), Err(HeaderError::Io(_))));
}

#[test]
fn a_small_buffer_changes_nothing() {
    let log = [HEADER, GOOD, &with(2, "\"p\n1\""), "\nx\n", GOOD].concat();
    let all = |capacity| {
        let input = BufReader::with_capacity(capacity, log.as_bytes());
        EventReader::new(input).unwrap().map(|item| item.map_err(|e| e.to_string())).collect()
    };
    let whole: Vec<Result<Event, String>> = all(1 << 16);
    assert_eq!(all(1), whole);
    assert_eq!(all(7), whole);
}

/// Whatever the bytes: no panic, lines that only grow, and ids that keep their promise.
#[test]
fn any_bytes_after_a_header() {
    bolero::check!().for_each(|bytes: &[u8]| {
        if let Ok(reader) = EventReader::new(bytes) {
            reader.for_each(drop);
        }
        let mut last = 1;
        for item in read([HEADER.as_bytes(), bytes].concat()) {
            let line = match item {
                Ok(event) => event.line,
                Err(RowError::Malformed(row)) => row.line,
                Err(RowError::Io { .. }) => panic!("a slice cannot fail"),
            };
            assert!(line > last);
            last = line;
        }
    });
}

/// Our cutting and the parser's are one reading: on any mix of the bytes that matter, as long as
/// nothing is refused, both see the same fields. Bytes drawn at random would hardly ever be CSV.
#[test]
fn rows_are_cut_as_the_parser_would() {
    const ALPHABET: [&[u8]; 8] = [b"\"", b"\"", b",", b"\n", b"\r\n", b"a", b"\"\"", b"bc"];
    bolero::check!().with_type::<Vec<u8>>().for_each(|choices| {
        let log: Vec<u8> =
            choices.iter().flat_map(|c| ALPHABET[usize::from(c % 8)]).copied().collect();
        let mut reader = EventReader::new(HEADER.as_bytes()).unwrap();
        reader.rows = Rows::new(&log);
        let mut ours = Vec::new();
        while let Some(cut) = reader.rows.next_row().unwrap() {
            if reader.split(cut).is_err() {
                assert_eq!(cut, Cut::Unclosed);
                return;
            }
            ours.push(reader.record.iter().map(<[u8]>::to_vec).collect::<Vec<_>>());
        }
        let theirs: Vec<Vec<Vec<u8>>> = csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .from_reader(log.as_slice())
            .byte_records()
            .map(|record| record.unwrap().iter().map(<[u8]>::to_vec).collect())
            .collect();
        assert_eq!(ours, theirs);
    });
}
