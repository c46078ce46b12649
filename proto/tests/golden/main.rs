//! Golden bytes: what clients and members of every version say to each other.
//!
//! A change here is a change of the wire. Fields, enum values and methods may be added; a number, a
//! type or a method's name is never changed. `golden.txt` holds the bytes, one line a sample;
//! `samples.rs` holds the values.
//!
//! G1  each sample has the bytes that are written down, and they read back as the same.
//! G2  the samples are of every message of the package, and set every field of it.
//! G3  the methods and enum numbers are those that are written down.
//! G4  no service has a method with the name of a message that it takes or gives: within the
//!     service the method is meant, and other compilers than ours refuse the file. Only the example
//!     in Python had shown it.
#![allow(clippy::unwrap_used, reason = "in a test, what cannot be is a failure")]

mod samples;

use pannier_proto::v1::DESCRIPTORS;
use prost::Message;
use prost_types::{DescriptorProto, FileDescriptorProto, FileDescriptorSet};
use samples::{Sample, samples};
use std::collections::{BTreeMap, BTreeSet};

const WRITTEN_DOWN: &str = include_str!("golden.txt");

fn files() -> Vec<FileDescriptorProto> {
    let all = FileDescriptorSet::decode(DESCRIPTORS).unwrap().file;
    all.into_iter().filter(|file| file.package() == "pannier.v1").collect()
}

fn messages() -> Vec<DescriptorProto> {
    files().into_iter().flat_map(|file| file.message_type).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Numbers of the fields that the outermost message of `bytes` sets.
fn fields(bytes: &[u8]) -> BTreeSet<u32> {
    let (mut rest, mut found) = (bytes, BTreeSet::new());
    while !rest.is_empty() {
        let (tag, wire) = prost::encoding::decode_key(&mut rest).unwrap();
        found.insert(tag);
        let context = prost::encoding::DecodeContext::default();
        prost::encoding::skip_field(wire, tag, &mut rest, context).unwrap();
    }
    found
}

/// What is said of services and enums, as lines.
fn names() -> Vec<String> {
    let mut lines = Vec::new();
    for file in files() {
        for service in &file.service {
            for method in &service.method {
                let stream = |on: bool| if on { "stream " } else { "" };
                lines.push(format!(
                    "rpc {}.{} ({}{}) ({}{})",
                    service.name(),
                    method.name(),
                    stream(method.client_streaming()),
                    method.input_type().trim_start_matches(".pannier.v1."),
                    stream(method.server_streaming()),
                    method.output_type().trim_start_matches(".pannier.v1."),
                ));
            }
        }
        for kind in &file.enum_type {
            let value = |value: &prost_types::EnumValueDescriptorProto| {
                format!("enum {} {} {}", kind.name(), value.name(), value.number())
            };
            lines.extend(kind.value.iter().map(value));
        }
    }
    lines
}

/// What `golden.txt` would hold, were it written now.
fn now() -> Vec<String> {
    let bytes = |sample: &Sample| match sample.bytes.is_empty() {
        true => "-".into(),
        false => hex(&sample.bytes),
    };
    let line = |sample: &Sample| format!("{} {}", sample.name, bytes(sample));
    samples().iter().map(line).chain(names()).collect()
}

#[test]
fn the_wire_is_what_is_written_down() {
    let now = now();
    let then: Vec<&str> = WRITTEN_DOWN.lines().filter(|line| !line.starts_with('#')).collect();
    let all = now.join("\n");
    for (at, (now, then)) in now.iter().zip(&then).enumerate() {
        assert_eq!(now, then, "sample {at}; if the change is meant, all would be:\n{all}");
    }
    assert_eq!(now.len(), then.len(), "all would be:\n{all}");
}

#[test]
fn what_is_written_down_reads_back_as_the_same() {
    for sample in samples() {
        assert_eq!((sample.again)(&sample.bytes).unwrap(), sample.bytes, "{}", sample.name);
    }
}

#[test]
fn no_message_and_no_field_is_forgotten() {
    let mut set: BTreeMap<String, BTreeSet<u32>> = BTreeMap::new();
    for sample in samples() {
        set.entry(sample.name.into()).or_default().extend(fields(&sample.bytes));
    }
    let declared = messages().into_iter().map(|message| {
        let numbers = message.field.iter().map(|field| field.number() as u32).collect();
        (message.name().to_owned(), numbers)
    });
    assert_eq!(set, declared.collect());
}

/// Reflection serves these, so they must hold together by themselves.
#[test]
fn the_descriptors_stand_alone() {
    let all = FileDescriptorSet::decode(DESCRIPTORS).unwrap().file;
    let names: BTreeSet<String> = all.iter().map(|file| file.name().to_owned()).collect();
    for file in &all {
        for needed in &file.dependency {
            assert!(names.contains(needed), "{} needs {needed}", file.name());
        }
    }
    assert_eq!(files().len(), 11);
}

#[test]
fn no_method_has_the_name_of_what_it_takes_or_gives() {
    for service in files().iter().flat_map(|file| &file.service) {
        let methods: BTreeSet<&str> = service.method.iter().map(|it| it.name()).collect();
        let types = service.method.iter().flat_map(|it| [it.input_type(), it.output_type()]);
        for name in types.map(|name| name.trim_start_matches(".pannier.v1.")) {
            assert!(!methods.contains(name), "{} has a method {name}", service.name());
        }
    }
}
