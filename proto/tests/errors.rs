//! The table of reasons is whole, printed as it is, and survives both of its ways over the wire.
#![allow(clippy::unwrap_used, reason = "in a test, what cannot be is a failure")]

use pannier_proto::errors::{Failure, MESSAGE_MAX, METADATA_MAX, Reason, StateChange, TABLE};
use pannier_proto::{TokenError, metadata};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tonic::metadata::MetadataMap;
use tonic::{Code, Status};

/// `InvalidArgument` as gRPC writes it.
fn screaming(code: Code) -> String {
    let mut name = String::new();
    for letter in format!("{code:?}").chars() {
        if letter.is_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(letter.to_ascii_uppercase());
    }
    name
}

#[test]
fn each_reason_has_one_row_and_one_name() {
    let names: BTreeSet<&str> = TABLE.iter().map(|row| row.name).collect();
    let reasons: BTreeSet<Reason> = TABLE.iter().map(|row| row.reason).collect();
    assert_eq!((names.len(), reasons.len()), (TABLE.len(), TABLE.len()));
    for row in TABLE {
        assert_eq!(row.reason.row(), row);
        assert_eq!(row.name.parse(), Ok(row.reason));
        assert!(row.name.chars().all(|c| c.is_ascii_uppercase() || c == '_'), "{}", row.name);
        assert!(!matches!(row.code, Code::Ok | Code::Unknown), "{}", row.name);
        assert!(row.doc.ends_with('.') && row.doc.len() <= 100, "{}", row.name);
    }
    assert!("NO_SUCH_REASON".parse::<Reason>().is_err());
}

/// What may have been done must be told by sending it again, so there must be a way to.
#[test]
fn what_may_have_been_done_can_be_sent_again() {
    for row in TABLE.iter().filter(|row| row.state == StateChange::Unknown) {
        assert!(row.retry.is_some(), "{}", row.name);
    }
}

#[test]
fn the_page_for_clients_prints_this_table() {
    let page = include_str!("../../docs/client-protocol.md");
    let rows = page.lines().filter(|line| line.starts_with("| `") && line.contains("` | "));
    let printed: Vec<Vec<String>> = rows
        .map(|line| line.split('|').map(|cell| cell.trim().replace('`', "")).collect())
        .filter(|cells: &Vec<String>| cells.len() == 8)
        .collect();
    let now: Vec<Vec<String>> = TABLE
        .iter()
        .map(|row| {
            let retry = row.retry.map_or("no".into(), |delay| format!("{} ms", delay.as_millis()));
            let (state, next) = (row.state.as_str(), row.next.as_str());
            let cells = [row.name, &screaming(row.code), state, next, &retry];
            let cells = cells.into_iter().map(str::to_owned);
            let doc = row.doc.replace('`', "");
            [String::new()].into_iter().chain(cells).chain([doc, String::new()]).collect()
        })
        .collect();
    let missing: Vec<String> =
        now.iter().filter(|row| !printed.contains(row)).map(|row| row.join(" | ")).collect();
    assert!(missing.is_empty(), "docs/client-protocol.md lacks\n{}", missing.join("\n"));
    assert_eq!(printed.len(), now.len(), "docs/client-protocol.md has rows of its own");
}

fn failure() -> impl Strategy<Value = Failure> {
    let reasons = (0..TABLE.len()).prop_map(|at| TABLE[at].reason);
    let texts = proptest::collection::vec((".{1,60}", ".{0,200}"), 0..20);
    (reasons, ".{0,600}", texts, proptest::option::of(0..100_000_u64)).prop_map(
        |(reason, message, texts, retry)| {
            let mut failure = Failure::new(reason, message);
            for (key, value) in texts {
                failure = failure.with(&key, value);
            }
            match retry {
                Some(ms) => failure.retry_after(Duration::from_millis(ms)),
                None => failure,
            }
        },
    )
}

proptest! {
    /// As the trailers of a call, through the very headers.
    #[test]
    fn as_a_status_there_and_back(failure in failure()) {
        let mut headers = http::HeaderMap::new();
        failure.to_status().add_header(&mut headers).unwrap();
        let bytes: usize = headers.iter().map(|(k, v)| k.as_str().len() + v.len() + 32).sum();
        prop_assert!(bytes < 8 << 10, "{bytes} bytes of headers");
        let came = Status::from_header_map(&headers).unwrap();
        prop_assert_eq!(came.code(), failure.reason.code());
        prop_assert_eq!(Failure::from_status(&came), Some(failure));
    }

    /// As the answer to one command.
    #[test]
    fn as_a_message_there_and_back(failure in failure()) {
        let wire = failure.to_wire();
        prop_assert_eq!(wire.code, failure.reason.code() as i32);
        prop_assert_eq!(Failure::from_wire(&wire), Some(failure));
    }

    #[test]
    fn what_is_said_is_short(failure in failure()) {
        prop_assert!(failure.message.len() <= MESSAGE_MAX);
        prop_assert!(failure.metadata.len() <= METADATA_MAX);
        prop_assert!(failure.metadata.iter().all(|(key, value)| key.len().max(value.len()) <= 128));
    }
}

/// Details come from whoever answers.
#[test]
fn any_details() {
    bolero::check!().with_type::<(u8, Vec<u8>)>().for_each(|(code, details)| {
        let code = Code::from_i32((*code).into());
        let _ = Failure::from_status(&Status::with_details(code, "", details.clone().into()));
    });
}

#[test]
fn an_error_that_is_not_ours_is_no_failure() {
    assert_eq!(Failure::from_status(&Status::unavailable("connection refused")), None);
    let newer = pannier_proto::v1::Failure { reason: "NEWER".into(), ..Default::default() };
    assert_eq!(Failure::from_wire(&newer), None);
}

#[test]
fn a_failure_wears_the_delay_of_its_row_unless_told_otherwise() {
    let behind = Failure::new(Reason::Behind, "behind").with("have", 3);
    assert_eq!(behind.retry, Some(Duration::from_millis(50)));
    assert_eq!(behind.metadata, BTreeMap::from([("have".to_owned(), "3".to_owned())]));
    assert_eq!(Failure::new(Reason::Bounds, "").retry, None);
    let soon = behind.retry_after(Duration::from_micros(1));
    assert_eq!(soon.retry, Some(Duration::from_millis(1)));
    assert_eq!(soon.to_string(), "BEHIND: behind");
}

#[test]
fn tokens_and_keys_in_metadata_are_checked() {
    let mut map = MetadataMap::new();
    assert_eq!(metadata::token_bytes(&map), Ok(None));
    assert_eq!(metadata::session(&map), Ok(None));
    let token = pannier_proto::Token { cluster: 7, ..Default::default() };
    metadata::set_token(&mut map, &token.encode());
    assert_eq!(metadata::token(&map), Ok(token));
    metadata::set_token(&mut map, &[1; 4_097]);
    assert_eq!(metadata::token_bytes(&map), Err(TokenError::TooLong(4_097).into()));
    metadata::set_token(&mut map, b"");
    assert_eq!(metadata::token_bytes(&map), Ok(None));
    for (key, ok) in [(0, false), (1, true), (64, true), (65, false)] {
        let value = tonic::metadata::MetadataValue::from_bytes(&vec![7; key]);
        map.insert_bin(metadata::SESSION, value);
        let found = metadata::session(&map);
        assert_eq!(found.is_ok(), ok, "{key} bytes");
        assert!(found.is_ok() || found.unwrap_err().reason == Reason::Bounds);
    }
}
