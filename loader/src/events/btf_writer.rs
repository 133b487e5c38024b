//! BTF, written: the kernel's `Documentation/bpf/btf.rst` describes the format.

/// The kinds of types that are written.
const INT: u32 = 1;
const PTR: u32 = 2;
const ARRAY: u32 = 3;
const STRUCT: u32 = 4;
const UNION: u32 = 5;
const ENUM: u32 = 6;
const ENUM64: u32 = 19;

/// Flag of structs that have bit fields, and of enumerations with negative values.
const KIND_FLAG: u32 = 1 << 31;
/// How an integer is printed.
const SIGNED: u32 = 1 << 24;
const BOOL: u32 = 4 << 24;
/// The length of the header.
const HEADER: u32 = 24;

/// Collects types; each has the number that its method returns.
#[derive(Debug, Default)]
pub(super) struct Writer {
    types: Vec<u8>,
    count: u32,
    strings: Vec<u8>,
    index: Option<u32>,
    pointer: Option<u32>,
}

/// A member of a struct or a union.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) name: String,
    /// The number of its type.
    pub(super) of: u32,
    pub(super) bit_offset: u32,
    /// How many bits it has, if it is a bit field.
    pub(super) bits: Option<u8>,
}

impl Writer {
    pub(super) fn integer(&mut self, name: &str, size: u32, signed: bool, boolean: bool) -> u32 {
        let number = self.begin(name, INT, 0, size);
        let encoding = if signed { SIGNED } else { 0 } | if boolean { BOOL } else { 0 };
        self.word(encoding | size.saturating_mul(8));
        number
    }

    /// A pointer to anything.
    pub(super) fn pointer(&mut self) -> u32 {
        let number = self.pointer.unwrap_or_else(|| self.begin("", PTR, 0, 0));
        self.pointer = Some(number);
        number
    }

    pub(super) fn array(&mut self, of: u32, count: u32) -> u32 {
        let index = self.index.unwrap_or_else(|| self.integer("__ARRAY_SIZE_TYPE__", 4, false, false));
        self.index = Some(index);
        let number = self.begin("", ARRAY, 0, 0);
        [of, index, count].into_iter().for_each(|word| self.word(word));
        number
    }

    pub(super) fn composite(&mut self, is_union: bool, name: &str, size: u32, members: &[Member]) -> u32 {
        let has_bits = members.iter().any(|member| member.bits.is_some());
        let kind = if is_union { UNION } else { STRUCT };
        let number = self.begin(name, kind, length(members) | if has_bits { KIND_FLAG } else { 0 }, size);
        for member in members {
            let name = self.string(&member.name);
            let offset = match has_bits {
                true => u32::from(member.bits.unwrap_or(0)) << 24 | member.bit_offset & 0x00ff_ffff,
                false => member.bit_offset,
            };
            [name, member.of, offset].into_iter().for_each(|word| self.word(word));
        }
        number
    }

    pub(super) fn enumeration(&mut self, name: &str, size: u32, values: &[(String, i64)]) -> u32 {
        let signed = if values.iter().any(|(_, value)| *value < 0) { KIND_FLAG } else { 0 };
        let wide = size > 4;
        let number = self.begin(name, if wide { ENUM64 } else { ENUM }, length(values) | signed, size);
        for (name, value) in values {
            let name = self.string(name);
            self.word(name);
            let bytes = value.to_le_bytes();
            let [a, b, c, d, e, f, g, h] = bytes;
            self.word(u32::from_le_bytes([a, b, c, d]));
            if wide {
                self.word(u32::from_le_bytes([e, f, g, h]));
            }
        }
        number
    }

    /// A global variable that points to the type.
    #[cfg(test)]
    pub(super) fn variable_pointing_to(&mut self, name: &str, of: u32) -> u32 {
        const VAR: u32 = 14;
        const GLOBAL: u32 = 1;
        let pointer = self.begin("", PTR, 0, of);
        let number = self.begin(name, VAR, 0, pointer);
        self.word(GLOBAL);
        number
    }

    /// All of it; `None` if it is too long.
    pub(super) fn finish(self) -> Option<Vec<u8>> {
        /// `BTF_MAGIC` and the version, in the byte order of this machine.
        const MAGIC: u16 = 0xeb9f;
        let mut strings = vec![0];
        strings.extend(&self.strings);
        let types = u32::try_from(self.types.len()).ok()?;
        let mut btf = MAGIC.to_ne_bytes().to_vec();
        btf.extend([1, 0]);
        for word in [HEADER, 0, types, types, u32::try_from(strings.len()).ok()?] {
            btf.extend(word.to_ne_bytes());
        }
        btf.extend(self.types);
        btf.extend(strings);
        Some(btf)
    }

    /// Begins a type: its members follow. `size` is a size or the number of a type.
    fn begin(&mut self, name: &str, kind: u32, length: u32, size: u32) -> u32 {
        let name = self.string(name);
        [name, kind << 24 | length, size].into_iter().for_each(|word| self.word(word));
        self.count += 1;
        self.count
    }

    fn word(&mut self, word: u32) {
        self.types.extend(word.to_ne_bytes());
    }

    /// The place of a string. The first byte of all is the empty string, which is added in the end.
    fn string(&mut self, text: &str) -> u32 {
        if text.is_empty() || text.contains('\0') {
            return 0;
        }
        let at = u32::try_from(self.strings.len() + 1).unwrap_or(0);
        self.strings.extend(text.as_bytes());
        self.strings.push(0);
        at
    }
}

/// How many there are, as far as BTF can say.
fn length<T>(of: &[T]) -> u32 {
    u32::from(u16::try_from(of.len()).unwrap_or(u16::MAX))
}
