//! "Did you mean": the ids that are nearest to one that is not there.

/// How many are named.
const MOST: usize = 3;

/// The nearest of `all`, best first: ids that differ in letter case, that
/// contain what was written, or that are few letters away.
pub(crate) fn nearest(wanted: &str, all: impl Iterator<Item = String>) -> Vec<String> {
    let wanted: Vec<char> = lower(wanted);
    if wanted.len() < 3 {
        return Vec::new();
    }
    let limit = match wanted.len() {
        3..6 => 1,
        more => (more / 5).clamp(2, 12),
    };
    let mut best: Vec<(usize, String)> = Vec::new();
    for id in all {
        let Some(far) = distance(&wanted, &lower(&id), limit) else {
            continue;
        };
        let place = best.partition_point(|(other, _)| *other <= far);
        if place < MOST && !best.iter().any(|(_, other)| *other == id) {
            best.insert(place, (far, id));
            best.truncate(MOST);
        }
    }
    best.into_iter().map(|(_, id)| id).collect()
}

fn lower(text: &str) -> Vec<char> {
    text.chars().map(|c| c.to_ascii_lowercase()).collect()
}

/// Insertions, deletions and replacements between two words, if they are few;
/// one that contains the other counts as nearer the less it has besides.
fn distance(a: &[char], b: &[char], limit: usize) -> Option<usize> {
    if a.len() >= 3 && b.windows(a.len()).any(|part| part == a) {
        return Some(if a.len() == b.len() { 0 } else { 1 });
    }
    if a.len().abs_diff(b.len()) > limit {
        return None;
    }
    // One row of the table of distances between all beginnings of both.
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        let mut least = left;
        for (cell, y) in row.iter_mut().skip(1).zip(b) {
            let above = *cell;
            left = (diagonal + usize::from(x != y))
                .min(above + 1)
                .min(left + 1);
            diagonal = above;
            *cell = left;
            least = least.min(left);
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
        if least > limit {
            return None;
        }
    }
    // Behind all that contain the word.
    row.last().filter(|far| **far <= limit).map(|far| far + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(wanted: &str) -> Vec<String> {
        let all = [
            "cluster_role:view:all:member",
            "cluster_role:view:dev:member",
            "cluster_role:edit:dev:member",
            "cluster_role:View:ops:member",
            "namespace_role:dev/deployer:member",
            "access_policy:arn:aws:eks::aws:cluster-access-policy/AmazonEKSViewPolicy:assigned:dev",
        ];
        nearest(wanted, all.iter().map(|id| (*id).to_owned()))
    }

    #[test]
    fn typing_errors_find_their_way_home() {
        assert_eq!(
            find("cluster_role:veiw:dev:member")[0],
            "cluster_role:view:dev:member"
        );
        assert_eq!(
            find("cluster_role:view:ops:member")[0],
            "cluster_role:View:ops:member"
        );
        assert_eq!(
            find("namespace_role:dev/deployr:member"),
            ["namespace_role:dev/deployer:member"]
        );
        assert_eq!(find("EKSViewPolicy").len(), 1);
        assert_eq!(find("view:dev"), ["cluster_role:view:dev:member"]);
        assert_eq!(find("role").len(), MOST);
        assert!(find("something else entirely").is_empty());
        for short in ["", "x", "vi"] {
            assert!(find(short).is_empty());
        }
    }

    #[test]
    fn distances_are_those_of_levenshtein() {
        let far = |a: &str, b: &str| distance(&lower(a), &lower(b), 9);
        assert_eq!(
            far("kitten", "sitting"),
            Some(4),
            "three, and one as it does not contain it"
        );
        assert_eq!(far("ab", "ab"), Some(1));
        assert_eq!(far("abc", "ABC"), Some(0));
        assert_eq!(distance(&lower("kitten"), &lower("sitting"), 2), None);
    }
}
