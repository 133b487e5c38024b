//! Whether a type is one that libbpf may print values of.
//!
//! libbpf follows a type as far as it goes: a struct that contains itself, or a member beyond its struct's end, would take this
//! process down. Compilers write no such types, but objects come from anywhere.

use libbpf_rs::btf::types::{Array, Enum, Enum64, Float, FuncProto, Int, MemberAttr, Struct, Union};
use libbpf_rs::btf::{Btf, BtfKind, BtfType, HasSize as _, TypeId};

use super::types::resolve;

/// How deeply types may be nested.
const DEEPEST: usize = 32;
/// How many types one may have in it, counted as often as it has them.
const MOST: usize = 1 << 14;
/// The largest value, in bytes.
const LARGEST: usize = 1 << 20;

/// Whether all values of the type lie within its size, and it ends.
pub(super) fn is_sound(btf: &Btf<'_>, id: TypeId) -> bool {
    let Some(of) = btf.type_by_id::<BtfType<'_>>(id) else { return false };
    Check { btf, left: MOST }.size(of, 0).is_some()
}

struct Check<'a> {
    btf: &'a Btf<'a>,
    left: usize,
}

impl<'a> Check<'a> {
    /// The size of a sound type, in bytes.
    fn size(&mut self, of: BtfType<'a>, depth: usize) -> Option<usize> {
        self.left = self.left.checked_sub(1)?;
        if depth > DEEPEST {
            return None;
        }
        self.declaration(of, depth)?;
        let of = resolve(of)?;
        let size = match of.kind() {
            BtfKind::Int => {
                let int = Int::try_from(of).ok()?;
                let fits = int.offset == 0 && usize::from(int.bits) <= int.size().checked_mul(8)?;
                (fits && matches!(int.size(), 1 | 2 | 4 | 8 | 16)).then(|| int.size())
            }
            BtfKind::Ptr => Some(size_of::<u64>()),
            BtfKind::Enum => {
                Some(Enum::try_from(of).ok()?.size()).filter(|size| matches!(size, 1 | 2 | 4 | 8))
            }
            BtfKind::Enum64 => {
                Some(Enum64::try_from(of).ok()?.size()).filter(|size| matches!(size, 1 | 2 | 4 | 8))
            }
            BtfKind::Float => {
                Some(Float::try_from(of).ok()?.size()).filter(|size| matches!(size, 4 | 8 | 16))
            }
            BtfKind::Array => {
                let array = Array::try_from(of).ok()?;
                let element = self.size(self.btf.type_by_id(array.ty())?, depth + 1)?;
                // Elements without size would not end the array.
                (element > 0 || array.capacity() == 0).then(|| element.checked_mul(array.capacity()))?
            }
            BtfKind::Struct => {
                let of = Struct::try_from(of).ok()?;
                let members = of.iter().map(|member| (member.ty, member.attr));
                self.composite(of.size(), members, depth)
            }
            BtfKind::Union => {
                let of = Union::try_from(of).ok()?;
                let members = of.iter().map(|member| (member.ty, member.attr));
                self.composite(of.size(), members, depth)
            }
            _ => None,
        };
        size.filter(|size| *size <= LARGEST)
    }

    /// Whether a type's declaration in C ends: libbpf prints it before the value. It follows pointers, arrays and functions up
    /// to something that has a name.
    fn declaration(&mut self, mut of: BtfType<'a>, depth: usize) -> Option<()> {
        loop {
            self.left = self.left.checked_sub(1)?;
            if depth > DEEPEST {
                return None;
            }
            of = match of.kind() {
                BtfKind::Array => self.btf.type_by_id(Array::try_from(of).ok()?.ty())?,
                BtfKind::FuncProto => {
                    for parameter in FuncProto::try_from(of).ok()?.iter() {
                        self.declaration(self.btf.type_by_id(parameter.ty)?, depth + 1)?;
                    }
                    of.next_type()?
                }
                BtfKind::Ptr => of.next_type()?,
                _ if of.is_mod() => of.next_type()?,
                _ => return Some(()),
            };
        }
    }

    /// The size of a struct or a union, if its members lie within it.
    fn composite(
        &mut self,
        size: usize,
        members: impl Iterator<Item = (TypeId, MemberAttr)>,
        depth: usize,
    ) -> Option<usize> {
        let bits = size.checked_mul(8)?;
        for (of, attributes) in members {
            let of: BtfType<'_> = self.btf.type_by_id(of)?;
            let member = self.size(of, depth + 1)?.checked_mul(8)?;
            let of = resolve(of)?;
            let (offset, length) = match attributes {
                MemberAttr::Normal { offset } => (offset, member),
                MemberAttr::BitField { size, offset } => {
                    let is_number = matches!(of.kind(), BtfKind::Int | BtfKind::Enum | BtfKind::Enum64);
                    let length = usize::from(size);
                    if !is_number || length > member.min(64) {
                        return None;
                    }
                    // libbpf reads the whole number that the bits are in.
                    (offset, length)
                }
            };
            if usize::try_from(offset).ok()?.checked_add(length)? > bits {
                return None;
            }
        }
        Some(size)
    }
}
