//! Shards: parts of the kernels for several machines, or jobs of a CI.

use hooklab_types::report::Shard;
use hooklab_vm::kernel::Spec;

use crate::exit::UsageError;

/// The kernels of this shard, in the order that they have. Which these are depends on which there are, and not on
/// their order: sorted by name, they are dealt out like cards, so that shards are of equal size.
pub fn part(shard: Shard, specs: Vec<Spec>) -> Result<Vec<Spec>, UsageError> {
    let mut names: Vec<String> = specs.iter().map(Spec::to_string).collect();
    names.sort();
    let mine: Vec<&String> = names.iter().skip(shard.index - 1).step_by(shard.of).collect();
    if mine.is_empty() {
        let count = names.len();
        return Err(UsageError(format!(
            "shard {shard} is empty: there are only {count} kernels to share out"
        )));
    }
    Ok(specs.into_iter().filter(|spec| mine.contains(&&spec.to_string())).collect())
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
            let parts: Vec<_> = shards(of).map(|shard| part(shard, all.clone()).unwrap()).collect();
            assert_eq!(parts.iter().map(Vec::len).sum::<usize>(), 7);
            assert!(all.iter().all(|spec| parts.iter().any(|part| part.contains(spec))));
            let sizes: Vec<usize> = parts.iter().map(Vec::len).collect();
            assert!(sizes.iter().max().unwrap() - sizes.iter().min().unwrap() <= 1, "{sizes:?}");
            for (shard, kernels) in shards(of).zip(&parts) {
                let mut again = part(shard, reversed.clone()).unwrap();
                again.reverse();
                assert_eq!(&again, kernels);
            }
        }
        let error = part(Shard { index: 8, of: 9 }, all).unwrap_err().to_string();
        assert_eq!(error, "shard 8/9 is empty: there are only 7 kernels to share out");
    }
}
