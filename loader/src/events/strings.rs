//! Strings in libbpf's text of a value.
//!
//! libbpf prints an array of characters as `['c','a','t','\0',]`, with a number for each byte that is not printable, and nothing
//! after the first NUL. It can print `"cat"`, too, but then leaves out the comma after it, and a quotation mark in the string looks like its end.

/// What libbpf prints for the NUL at the end of a string.
const END: &str = "'\\0',";

/// Replaces lists of characters by strings in quotation marks.
pub(super) fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('[') {
        let (before, list) = rest.split_at(at);
        quoted.push_str(before);
        match characters(list, before.ends_with(')')) {
            Some((bytes, length)) => {
                push_string(&mut quoted, &bytes);
                rest = &list[length..];
            }
            None => {
                quoted.push('[');
                rest = &list[1..];
            }
        }
    }
    quoted + rest
}

/// Reads a list of characters, and says how long its text is; `None` if it is another list. After a type in parentheses an
/// empty list is one of characters only if the type is: that of numbers has elements.
fn characters(list: &str, typed: bool) -> Option<(Vec<u8>, usize)> {
    let mut bytes = Vec::new();
    let mut any = false;
    let mut at = 1;
    loop {
        let rest = list.get(at..)?;
        if rest.starts_with(']') {
            return (any || (bytes.is_empty() && typed)).then_some((bytes, at + 1));
        }
        if rest.starts_with(END) {
            any = true;
            at += END.len();
        } else if let Some(rest) = rest.strip_prefix('\'') {
            let c = rest.chars().next()?;
            if !rest.get(c.len_utf8()..)?.starts_with("',") {
                return None;
            }
            bytes.push(u8::try_from(c).ok()?);
            any = true;
            at += c.len_utf8() + 3;
        } else {
            let end = rest.find(',')?;
            let number: i16 = rest[..end].parse().ok()?;
            bytes.push(u8::try_from(number).or_else(|_| i8::try_from(number).map(i8::cast_unsigned)).ok()?);
            at += end + 1;
        }
    }
}

/// Appends a string in quotation marks, so that nothing in it looks like its end.
fn push_string(text: &mut String, bytes: &[u8]) {
    text.push('"');
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '"' | '\\' => text.extend(['\\', c]),
                c if c.is_control() => text.extend(c.escape_default()),
                c => text.push(c),
            }
        }
        for byte in chunk.invalid() {
            text.push_str(&format!("\\x{byte:02x}"));
        }
    }
    text.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_characters_become_strings() {
        for (list, string) in [
            ("(char[8])['c','a','t',],.x = 1", "(char[8])\"cat\",.x = 1"),
            (r"(char[8])['\','0','\0',],", r#"(char[8])"\\0","#),
            (r"(char[8])['\0',]", r#"(char[8])"""#),
            ("['a','\"','\\',''',',',']',]", r#""a\"\\',]""#),
            ("['a',10,27,-61,-92,-1,]", "\"a\\n\\u{1b}ä\\xff\""),
            ("{.a = (char[4])[],}", "{.a = (char[4])\"\",}"),
            ("{.a = (int[2])[1,2,],.b = [[3,],['x',],],}", "{.a = (int[2])[1,2,],.b = [[3,],\"x\",],}"),
        ] {
            assert_eq!(quote(list), string);
        }
    }

    #[test]
    fn what_is_no_list_stays() {
        for text in
            ["", "[", "['", "['a", "['a'", "['a',", "['ab',]", "[300,'a',]", "[1,2,]", "[x,'a',]", "]]"]
        {
            assert_eq!(quote(text), text);
        }
    }
}
