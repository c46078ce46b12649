//! Pages: which part of a cart, set or listing is asked for, and the token that leads on.
//!
//! ```text
//! byte 0     format version (1)
//! scope      8 bytes, big-endian: xxh3 of what is paged (object, or kind and namespace)
//! after      length (LEB128) and bytes: the last product, element or id that was shown
//! checksum   4 bytes, xxh3 of everything before
//! ```
//!
//! A token names a place, not a moment: the next page shows what comes after it then. A number of
//! lines to skip would show a line twice, or never, when another comes or goes before it.
//!
//! P1  strict: what is taken in would be written again, byte by byte.
//! P2  of another object, kind or namespace: refused. (The scope's hash finds mistakes, not
//!     forgery; a forged token only names a place in what its holder may read anyway.)

use crate::errors::{Failure, Reason};
use crate::limits::{IDS_DEFAULT, IDS_MAX, LINES_DEFAULT, LINES_MAX};
use bytes::Bytes;
use orset::codec::{Reader, put_bytes};
use orset::{DecodeError, Kind, OBJECT_ID_MAX, ObjectKey, PRODUCT_MAX, Product};
use xxhash_rust::xxh3::xxh3_64;

/// The longest page token, in bytes.
pub const PAGE_TOKEN_MAX: usize = 1 + 8 + 2 + AFTER_MAX + 4;

const AFTER_MAX: usize = if PRODUCT_MAX > OBJECT_ID_MAX { PRODUCT_MAX } else { OBJECT_ID_MAX };
const VERSION: u8 = 1;

/// Which part of something that is read in parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// Most lines, elements or ids, at least 1.
    pub size: u32,
    /// Only those above this one, bytewise: 1 to 255 bytes. `None`: from the first.
    pub after: Option<Bytes>,
}

impl Page {
    /// From the first, `size` of them.
    pub const fn first(size: u32) -> Self {
        Self { size, after: None }
    }

    /// Of a counter, which has no parts.
    pub const WHOLE: Self = Self::first(1);

    /// Behind which product or element, of a page of a cart or set.
    pub fn product(&self) -> Option<Product> {
        // Within a product's bounds, as every place that a token names.
        self.after.as_ref().and_then(|after| Product::new(after).ok())
    }

    /// The part of an object that a request asks for.
    pub(super) fn of(object: &ObjectKey, size: u32, token: &Bytes) -> Result<Self, Failure> {
        let size = checked(size, LINES_DEFAULT, LINES_MAX)?;
        Ok(Self { size, after: decode(scope_of(object), token)? })
    }

    /// The part of a listing that a request asks for.
    pub(super) fn of_list(
        kind: Kind,
        namespace: &[u8],
        size: u32,
        token: &Bytes,
    ) -> Result<Self, Failure> {
        let size = checked(size, IDS_DEFAULT, IDS_MAX)?;
        Ok(Self { size, after: decode(scope_of_list(kind, namespace), token)? })
    }
}

pub(super) fn checked(size: u32, default: u32, max: u32) -> Result<u32, Failure> {
    match size {
        0 => Ok(default),
        size if size <= max => Ok(size),
        size => {
            let message = format!("page_size {size} is outside 1 to {max}");
            Err(Failure::new(Reason::Bounds, message).with("field", "page_size").with("max", max))
        }
    }
}

/// What stands for one object in its page tokens.
pub(super) fn scope_of(object: &ObjectKey) -> u64 {
    xxh3_64(object.as_bytes())
}

/// What stands for one listing in its page tokens. No object key begins with such a byte.
pub(super) fn scope_of_list(kind: Kind, namespace: &[u8]) -> u64 {
    xxh3_64(&[&[0x80 | kind as u8], namespace].concat())
}

/// The token of the page that begins after `after` (1 to 255 bytes).
pub(super) fn encode(scope: u64, after: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(PAGE_TOKEN_MAX);
    out.push(VERSION);
    out.extend_from_slice(&scope.to_be_bytes());
    put_bytes(&mut out, after);
    let sum = checksum(&out);
    out.extend_from_slice(&sum);
    out.into()
}

/// Where a page begins; an empty token is the first page's.
pub(super) fn decode(scope: u64, token: &Bytes) -> Result<Option<Bytes>, Failure> {
    if token.is_empty() {
        return Ok(None);
    }
    let malformed = |why: &str| Failure::new(Reason::PageTokenMalformed, why);
    let (found, after) = parse(token).map_err(|error| malformed(&error.to_string()))?;
    if found != scope {
        return Err(malformed("the page token is of another object or listing"));
    }
    Ok(Some(token.slice_ref(after)))
}

fn parse(token: &[u8]) -> Result<(u64, &[u8]), DecodeError> {
    if token.len() > PAGE_TOKEN_MAX {
        return Err(DecodeError::Bounds("length of the page token"));
    }
    match token.first() {
        Some(&VERSION) => {}
        Some(&tag) => return Err(DecodeError::UnknownTag { what: "page token version", tag }),
        None => return Err(DecodeError::Truncated),
    }
    let (body, sum) = token.split_last_chunk::<4>().ok_or(DecodeError::Truncated)?;
    if checksum(body) != *sum {
        return Err(DecodeError::Checksum);
    }
    let mut from = Reader::new(body);
    from.u8()?;
    let mut scope = [0; 8];
    scope.copy_from_slice(from.take(8)?);
    let after = from.bytes()?;
    if after.is_empty() || after.len() > AFTER_MAX {
        return Err(DecodeError::Bounds("place in a page token"));
    }
    from.finish()?;
    Ok((u64::from_be_bytes(scope), after))
}

fn checksum(body: &[u8]) -> [u8; 4] {
    (xxh3_64(body) as u32).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cart(id: &[u8]) -> ObjectKey {
        ObjectKey::new(Kind::Cart, b"shop", id).unwrap()
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(scope: u64, after in proptest::collection::vec(any::<u8>(), 1..256)) {
            let token = encode(scope, &after);
            prop_assert!(token.len() <= PAGE_TOKEN_MAX);
            prop_assert_eq!(decode(scope, &token), Ok(Some(after.into())));
            let other = decode(scope ^ 1, &token).unwrap_err();
            prop_assert_eq!(other.reason, Reason::PageTokenMalformed);
        }
    }

    /// P1, whatever the bytes; then the same with a checksum that fits, or hardly any would get in.
    #[test]
    fn any_bytes() {
        bolero::check!().for_each(|bytes: &[u8]| {
            let versioned = [&[VERSION], bytes].concat();
            let sealed = [&versioned[..], &checksum(&versioned)].concat();
            for bytes in [bytes.to_vec(), versioned, sealed] {
                if let Ok((scope, after)) = parse(&bytes) {
                    assert_eq!(encode(scope, after), bytes);
                }
            }
        });
    }

    #[test]
    fn a_token_leads_on_in_its_own_object_or_listing_only() {
        let of = |object: &ObjectKey, token: &Bytes| Page::of(object, 0, token);
        let list = |kind, namespace: &[u8], token: &Bytes| Page::of_list(kind, namespace, 0, token);
        let token = encode(scope_of(&cart(b"ada")), b"lamp");
        assert_eq!(of(&cart(b"ada"), &token).unwrap().after, Some(Bytes::from_static(b"lamp")));
        let set = ObjectKey::new(Kind::Set, b"shop", b"ada").unwrap();
        let listed = encode(scope_of_list(Kind::Cart, b"shop"), b"ada");
        assert!(list(Kind::Cart, b"shop", &listed).is_ok());
        let refused = [
            of(&cart(b"bob"), &token),
            of(&set, &token),
            of(&cart(b"ada"), &listed),
            list(Kind::Cart, b"shop", &token),
            list(Kind::Set, b"shop", &listed),
            list(Kind::Cart, b"ship", &listed),
        ];
        for page in refused {
            assert_eq!(page.unwrap_err().reason, Reason::PageTokenMalformed);
        }
    }

    #[test]
    fn the_bytes_are_for_ever() {
        let token = encode(scope_of(&cart(b"ada")), b"lamp");
        let hex: String = token.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "013730c1a08e70b9b9046c616d702eb7fe07");
    }

    #[test]
    fn sizes_are_defaulted_and_bounded() {
        let sizes = |size| Page::of(&cart(b"ada"), size, &Bytes::new()).map(|page| page.size);
        assert_eq!(sizes(0), Ok(LINES_DEFAULT));
        assert_eq!(sizes(LINES_MAX), Ok(LINES_MAX));
        assert_eq!(sizes(LINES_MAX + 1).unwrap_err().reason, Reason::Bounds);
    }
}
