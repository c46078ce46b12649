//! The vocabulary of the `crdts` crate for our types, so that code written against its traits can
//! use them: `CvRDT` is our join. (`CmRDT` needs causal delivery, which a `Delta` of ours brings
//! along: joining it is applying it.)

use crate::{Cart, Counter, Lattice, OpIdSet, Set, VersionVector};
use core::convert::Infallible;

macro_rules! by_join {
    ($($type:ty),*) => {$(
        impl crdts::CvRDT for $type {
            type Validation = Infallible;

            fn validate_merge(&self, _: &Self) -> Result<(), Infallible> {
                Ok(())
            }

            fn merge(&mut self, other: Self) {
                self.join(&other);
            }
        }

        impl crdts::CmRDT for $type {
            type Op = Self;
            type Validation = Infallible;

            fn validate_op(&self, _: &Self) -> Result<(), Infallible> {
                Ok(())
            }

            fn apply(&mut self, delta: Self) {
                self.join(&delta);
            }
        }
    )*};
}

by_join!(Cart, Counter, OpIdSet, Set, VersionVector);
