//! What one session knows, as it must be told to replicas: a token, and what of it may be let go.
//!
//! A token is a version vector: "serve me only where all this has arrived". Two things raise it,
//! and they are not alike. What the session *read* it must not unsee. What it only *wrote* can be
//! written again, under the same op id, wherever it is missing. So beside the token there is the
//! *floor*: the part that writing again cannot restore. (A write's own dot is enough to stand for
//! it: deltas apply in causal order, so who has the dot has what the write rested on.)
//!
//! K1  token covers floor; both only rise, but for `cut` and `lower_to`, which say so.
//! K2  what an answer brought is in the token before the next command leaves.
//!
//! Answers come by the hundred thousand, and decoding each token would cost more than everything
//! else here. An answer's token covers its request's. So if the session's token is still the one
//! that was sent, the answer's bytes take its place unread; only answers that crossed are joined.

use bytes::Bytes;
use orset::{Dot, Lattice, Member, Origin, VersionVector};
use pannier_proto::{TOKEN_MAX, Token, TokenError};

/// Answers of reads that may wait to be decoded into the floor.
const SHOWN_MAX: usize = 8;

/// What an own write stands at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In this commit.
    At(Dot),
    /// Somewhere below this token: its answer was that of a retry.
    Below(Bytes),
}

impl Place {
    /// Whether a replica that has `have` of `origin` may lack it.
    pub fn is_beyond(&self, origin: Origin, have: u64) -> bool {
        match self {
            Self::At(dot) => dot.origin == origin && dot.seq > have,
            Self::Below(token) => vector(token).get(origin) > have,
        }
    }

    /// Whether `vector` covers it.
    pub fn is_in(&self, of: &VersionVector) -> bool {
        match self {
            Self::At(dot) => of.contains(*dot),
            Self::Below(token) => of.covers(&vector(token)),
        }
    }

    fn raise(&self, to: &mut VersionVector) {
        match self {
            Self::At(dot) => to.raise(dot.origin, dot.seq),
            Self::Below(token) => to.join(&vector(token)),
        }
    }
}

fn vector(token: &Bytes) -> VersionVector {
    Token::decode(token).unwrap_or_default().vector
}

/// A short slice of a long message would keep the message alive.
fn own(bytes: &Bytes) -> Bytes {
    Bytes::copy_from_slice(bytes)
}

/// See the file's head.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// As it is sent; stale while `joined` is there.
    token: Bytes,
    /// The token, decoded and raised beyond its bytes.
    joined: Option<Token>,
    /// What cannot be written again, but for what waits in `shown`.
    floor: VersionVector,
    /// Tokens of what was read, not yet in the floor.
    shown: Vec<Bytes>,
    /// What the token asked for before it fell, as long as somebody is owed it.
    let_go: VersionVector,
}

impl Known {
    /// From bytes kept earlier: all of it counts as read, since nothing is here to write it again.
    pub fn resume(bytes: &[u8]) -> Result<Self, TokenError> {
        if bytes.is_empty() {
            return Ok(Self::default());
        }
        let token = Token::decode(bytes)?;
        Ok(Self { token: Bytes::copy_from_slice(bytes), floor: token.vector, ..Self::default() })
    }

    /// The bytes to send, and to keep.
    pub fn token(&mut self) -> Bytes {
        if let Some(joined) = self.joined.take() {
            self.token = joined.encode().into();
        }
        self.token.clone()
    }

    /// The bytes to go on with elsewhere. While something that fell out of the token is being
    /// written again, or was given up and nobody has been told, it must still be asked for
    /// there: whoever goes on with these bytes alone could neither write it again nor know of the
    /// loss.
    pub fn carried(&mut self) -> Bytes {
        let token = self.token();
        if self.let_go.is_empty() {
            return token;
        }
        let mut token = Token::decode(&token).unwrap_or_default();
        token.vector.join(&self.let_go);
        token.encode().into()
    }

    /// Where it was served last.
    pub fn home(&mut self) -> Option<Member> {
        Token::decode(&self.token()).ok()?.home
    }

    /// The part that writing again cannot restore.
    pub fn floor(&mut self) -> &VersionVector {
        for token in self.shown.drain(..) {
            self.floor.join(&vector(&token));
        }
        &self.floor
    }

    /// An answer came with `token` to a command that was sent with `sent`; `shows` when its caller
    /// learns what is there. An answer without a token, or with a damaged one, teaches nothing.
    pub fn observe(&mut self, token: &Bytes, sent: &Bytes, shows: bool) {
        if token.is_empty() || token.len() > TOKEN_MAX {
            return;
        }
        let token = own(token);
        let adopt = self.joined.is_none() && self.token == *sent;
        if adopt {
            self.token = token.clone();
        } else if !self.join(&token) {
            return;
        }
        if shows {
            if adopt {
                // It covers everything that was shown before.
                self.shown.clear();
            } else if self.shown.len() >= SHOWN_MAX {
                self.floor();
            }
            self.shown.push(token);
        }
    }

    /// Something that another session, or a watch, has seen.
    pub fn learn(&mut self, token: &Bytes) -> Result<(), TokenError> {
        if token.is_empty() {
            return Ok(());
        }
        let other = Token::decode(token)?;
        self.floor.join(&other.vector);
        self.raise(other);
        Ok(())
    }

    fn join(&mut self, token: &Bytes) -> bool {
        match Token::decode(token) {
            Ok(other) => {
                self.raise(other);
                true
            }
            Err(_) => false,
        }
    }

    fn raise(&mut self, other: Token) {
        let joined = self.decoded();
        joined.vector.join(&other.vector);
        joined.home = other.home.or(joined.home);
        if joined.cluster == 0 {
            joined.cluster = other.cluster;
        }
    }

    fn decoded(&mut self) -> &mut Token {
        let token = &self.token;
        self.joined.get_or_insert_with(|| Token::decode(token).unwrap_or_default())
    }

    /// What of `origin` the token asks for.
    pub fn needs(&mut self, origin: Origin) -> u64 {
        match &self.joined {
            Some(joined) => joined.vector.get(origin),
            None => vector(&self.token).get(origin),
        }
    }

    /// An own write can no longer be written again: from now on it is as if it had been read.
    pub fn forget(&mut self, place: &Place) {
        place.raise(&mut self.floor);
    }

    /// What fell out of the token is written again, or told.
    pub fn settled(&mut self) {
        self.let_go = VersionVector::new();
    }

    fn lets_go(&mut self) {
        let before = self.decoded().vector.clone();
        self.let_go.join(&before);
    }

    /// What of `origin` lies above `to` is given up, read or written. Returns whether some of it
    /// was in the floor.
    pub fn cut(&mut self, origin: Origin, to: u64) -> bool {
        let was_read = self.floor().get(origin) > to;
        self.lets_go();
        self.floor = cut(&self.floor, origin, to);
        let joined = self.decoded();
        joined.vector = cut(&joined.vector, origin, to);
        was_read
    }

    /// The token falls to the floor and these places: the rest is written again.
    pub fn lower_to<'a>(&mut self, places: impl Iterator<Item = &'a Place>) {
        self.lets_go();
        let mut vector = self.floor().clone();
        places.for_each(|place| place.raise(&mut vector));
        self.decoded().vector = vector;
    }
}

fn cut(vector: &VersionVector, origin: Origin, to: u64) -> VersionVector {
    let low = |dot: Dot| if dot.origin == origin { Dot::new(origin, dot.seq.min(to)) } else { dot };
    vector.iter().map(low).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Origin = Origin::from_bytes([1; 16]);
    const B: Origin = Origin::from_bytes([2; 16]);

    fn token(dots: &[(Origin, u64)]) -> Bytes {
        let vector = dots.iter().map(|(origin, seq)| Dot::new(*origin, *seq)).collect();
        Token { vector, ..Token::default() }.encode().into()
    }

    #[test]
    fn an_answer_to_what_was_sent_takes_its_place() {
        let mut known = Known::default();
        let first = token(&[(A, 1)]);
        known.observe(&first, &Bytes::new(), false);
        assert_eq!(known.token(), first);
        assert!(known.joined.is_none() && known.floor().is_empty());
        let second = token(&[(A, 2)]);
        known.observe(&second, &first, true);
        assert_eq!(known.token(), second);
        assert_eq!(known.floor().get(A), 2);
    }

    #[test]
    fn answers_that_cross_are_joined() {
        let mut known = Known::default();
        known.observe(&token(&[(A, 5)]), &Bytes::new(), false);
        known.observe(&token(&[(A, 3), (B, 1)]), &Bytes::new(), true);
        assert_eq!(known.token(), token(&[(A, 5), (B, 1)]));
        assert_eq!(known.floor().iter().map(|dot| dot.seq).collect::<Vec<_>>(), [3, 1]);
    }

    #[test]
    fn many_reads_that_cross_are_all_in_the_floor() {
        let mut known = Known::default();
        known.observe(&token(&[(A, 1)]), &Bytes::new(), false);
        for seq in 2..40 {
            known.observe(&token(&[(B, seq)]), &Bytes::new(), true);
            assert!(known.shown.len() <= SHOWN_MAX);
        }
        assert_eq!(known.floor().get(B), 39);
        assert_eq!((known.needs(A), known.needs(B)), (1, 39));
    }

    #[test]
    fn a_damaged_token_teaches_nothing() {
        let mut known = Known::default();
        known.observe(&token(&[(A, 5)]), &Bytes::new(), false);
        known.observe(&"rubbish".into(), &Bytes::new(), true);
        known.observe(&vec![1; TOKEN_MAX + 1].into(), &known.token.clone(), true);
        known.observe(&Bytes::new(), &known.token.clone(), true);
        assert_eq!(known.token(), token(&[(A, 5)]));
        assert!(known.floor().is_empty());
        assert!(Known::resume(b"rubbish").is_err());
    }

    #[test]
    fn what_is_resumed_counts_as_read() {
        let mut known = Known::resume(&token(&[(A, 5)])).unwrap();
        assert_eq!(known.floor().get(A), 5);
        assert!(Known::resume(b"").unwrap().token().is_empty());
    }

    #[test]
    fn what_was_only_written_can_be_let_go_and_what_was_read_is_given_up_aloud() {
        let mut known = Known::default();
        known.observe(&token(&[(A, 5), (B, 2)]), &Bytes::new(), true);
        let sent = known.token();
        known.observe(&token(&[(A, 7), (B, 3)]), &sent, false);
        // The round that took the write had seen B:3; nothing of that was shown.
        known.lower_to([Place::At(Dot::new(A, 6))].iter());
        assert_eq!(known.token(), token(&[(A, 6), (B, 2)]));
        assert!(!known.cut(A, 5), "the floor is at 5");
        assert!(known.cut(A, 4));
        assert_eq!(known.token(), token(&[(A, 4), (B, 2)]));
        assert!(known.cut(B, 0));
        assert_eq!(known.token(), token(&[(A, 4)]));
    }

    #[test]
    fn an_own_write_that_is_not_kept_is_as_if_read() {
        let mut known = Known::default();
        known.forget(&Place::At(Dot::new(A, 3)));
        known.forget(&Place::Below(token(&[(A, 2), (B, 9)])));
        assert_eq!((known.floor().get(A), known.floor().get(B)), (3, 9));
    }
}
