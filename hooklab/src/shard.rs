//! Shards: parts of the kernels for several machines, or jobs of a CI.

use std::fmt;
use std::str::FromStr;

use hooklab_vm::kernel::Spec;
use serde::{Deserialize, Serialize};

use crate::exit::UsageError;

/// The `index`-th of `of` parts; counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Shard {
    /// Which one, from 1.
    pub index: usize,
    /// How many there are.
    pub of: usize,
}

impl Shard {
    /// The kernels of this shard, in the order that they have. Which these are depends on which there are, and not on
    /// their order: sorted by name, they are dealt out like cards, so that shards are of equal size.
    pub fn part_of(self, specs: Vec<Spec>) -> Result<Vec<Spec>, UsageError> {
        let mut names: Vec<String> = specs.iter().map(Spec::to_string).collect();
        names.sort();
        let mine: Vec<&String> = names.iter().skip(self.index - 1).step_by(self.of).collect();
        if mine.is_empty() {
            let count = names.len();
            return Err(UsageError(format!(
                "shard {self} is empty: there are only {count} kernels to share out"
            )));
        }
        Ok(specs.into_iter().filter(|spec| mine.contains(&&spec.to_string())).collect())
    }
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers =
            text.split_once('/').and_then(|(index, of)| Some((index.parse().ok()?, of.parse().ok()?)));
        match numbers {
            Some((index, of)) if (1..=of).contains(&index) => Ok(Self { index, of }),
            _ => Err("give two numbers, I/N, with I from 1 to N".into()),
        }
    }
}

impl TryFrom<String> for Shard {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Shard> for String {
    fn from(shard: Shard) -> Self {
        shard.to_string()
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn specs(names: &[&str]) -> Vec<Spec> {
        names.iter().map(|name| name.parse().unwrap()).collect()
    }

    #[test]
    fn shards_are_disjoint_make_up_the_whole_and_do_not_depend_on_the_order() {
        let all = specs(&["5.10", "6.1", "6.12", "6.16", "6.17", "7.3", "rc"]);
        let mut reversed = all.clone();
        reversed.reverse();
        for of in 1..=7 {
            let shards = |of| (1..=of).map(move |index| Shard { index, of });
            let parts: Vec<_> = shards(of).map(|shard| shard.part_of(all.clone()).unwrap()).collect();
            assert_eq!(parts.iter().map(Vec::len).sum::<usize>(), 7);
            assert!(all.iter().all(|spec| parts.iter().any(|part| part.contains(spec))));
            let sizes: Vec<usize> = parts.iter().map(Vec::len).collect();
            assert!(sizes.iter().max().unwrap() - sizes.iter().min().unwrap() <= 1, "{sizes:?}");
            for (shard, part) in shards(of).zip(&parts) {
                let mut again = shard.part_of(reversed.clone()).unwrap();
                again.reverse();
                assert_eq!(&again, part);
            }
        }
        let error = Shard { index: 8, of: 9 }.part_of(all).unwrap_err().to_string();
        assert_eq!(error, "shard 8/9 is empty: there are only 7 kernels to share out");
    }

    #[test]
    fn only_a_part_of_a_whole_is_a_shard() {
        assert_eq!("2/3".parse(), Ok(Shard { index: 2, of: 3 }));
        for wrong in ["0/3", "4/3", "1", "1/", "a/b", "-1/2", "1/0"] {
            assert!(wrong.parse::<Shard>().is_err(), "{wrong}");
        }
    }
}
