//! Reading primitive types: values, limits and hostile input.

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::{Sink, Writer};

fn reader(bytes: &'static [u8]) -> Reader {
    Reader::new(Bytes::from_static(bytes))
}

#[test]
fn varints_stop_at_their_width() {
    assert_eq!(reader(&[0xff, 0xff, 0xff, 0xff, 0x0f]).uvarint("f"), Ok(u32::MAX));
    let too_long = Err(DecodeError { field: "f", kind: DecodeErrorKind::VarintTooLong });
    assert_eq!(reader(&[0xff, 0xff, 0xff, 0xff, 0x1f]).uvarint("f"), too_long);
    assert_eq!(reader(&[0xff, 0xff, 0xff, 0xff, 0xff, 0x00]).uvarint("f"), too_long);
    let eleven = reader(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02]).varlong("f");
    assert_eq!(eleven, Err(DecodeError { field: "f", kind: DecodeErrorKind::VarintTooLong }));
}

#[test]
fn counts_are_checked_before_anything_is_allocated() {
    let claimed = reader(&[0, 0, 0, 9, 1, 2]).array_len("f", 1);
    let kind = DecodeErrorKind::Truncated { needed: 9, remaining: 2 };
    assert_eq!(claimed, Err(DecodeError { field: "f", kind }));
    let negative = reader(&[0xff, 0xff, 0xff, 0xfe]).array_len("f", 1);
    assert_eq!(negative.unwrap_err().kind, DecodeErrorKind::NegativeLength(-2));
    assert_eq!(reader(&[0xff, 0xff, 0xff, 0xff]).nullable_array_len("f", 1), Ok(None));
    assert_eq!(reader(&[0]).compact_array_len("f", 1).unwrap_err().kind, {
        DecodeErrorKind::UnexpectedNull
    });
}

#[test]
fn unknown_tags_are_passed_over_and_known_ones_must_fit() {
    // Tag 1 of 2 bytes, tag 7 of 1 byte.
    let section = &[2, 1, 2, 0, 5, 7, 1, 9];
    let mut seen = Vec::new();
    let mut input = reader(section);
    input
        .tags("f", |tag, inner| {
            seen.push(tag);
            if tag == 1 {
                assert_eq!(inner.i16("x"), Ok(5));
            }
            Ok(tag == 1)
        })
        .unwrap();
    assert_eq!((seen, input.remaining()), (vec![1, 7], 0));
    let short = reader(section).tags("f", |_, _| Ok(true)).unwrap_err();
    assert_eq!(short.kind, DecodeErrorKind::TrailingBytes(2));
    let twice = reader(&[2, 1, 0, 1, 0]).tags("f", |_, _| Ok(false)).unwrap_err();
    assert_eq!(twice.kind, DecodeErrorKind::TagOrder(1));
}

#[test]
fn budget_is_shared_with_tagged_fields() {
    let mut input = Reader::with_budget(Bytes::from_static(&[1, 0, 1, 7]), 10);
    input.tags("f", |_, inner| inner.charge("f", 8).map(|()| false)).unwrap();
    assert_eq!(input.charge("f", 3).unwrap_err().kind, DecodeErrorKind::BudgetExhausted);
}

proptest! {
    #[test]
    fn integers_come_back(a: i32, b: i64, c: u32, d: i16, e: f64) {
        let mut writer = Writer::default();
        writer.put_varint(a);
        writer.put_varlong(b);
        writer.put_uvarint(c);
        writer.put_i16(d);
        writer.put_f64(e);
        let mut input = Reader::new(writer.into_bytes());
        prop_assert_eq!(input.varint("a").unwrap(), a);
        prop_assert_eq!(input.varlong("b").unwrap(), b);
        prop_assert_eq!(input.uvarint("c").unwrap(), c);
        prop_assert_eq!(input.i16("d").unwrap(), d);
        prop_assert_eq!(input.f64("e").unwrap().to_bits(), e.to_bits());
        prop_assert!(input.is_empty());
    }

    #[test]
    fn no_input_panics(bytes: Vec<u8>, calls in prop::collection::vec(0_u8..12, 1..20)) {
        let mut input = Reader::new(Bytes::from(bytes));
        for call in calls {
            match call {
                0 => drop(input.string("f")),
                1 => drop(input.compact_nullable_string("f")),
                2 => drop(input.nullable_bytes("f")),
                3 => drop(input.compact_bytes("f")),
                4 => drop(input.nullable_array_len("f", 3)),
                5 => drop(input.compact_array_len("f", 3)),
                6 => drop(input.tags("f", |_, inner| inner.varlong("x").map(|_| true))),
                7 => drop(input.varint("f")),
                8 => drop(input.varlong("f")),
                9 => drop(input.array16("f")),
                10 => drop(input.skip("f", 2)),
                _ => drop(input.i64("f")),
            }
        }
    }
}
