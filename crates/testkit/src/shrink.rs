//! From a long list that fails to a short one that still does.

/// Leaves out of a list what it does not need to fail, in at most so many attempts: halves, then
/// quarters, and so on down to single elements.
///
/// ```
/// let fails = |numbers: &[u32]| numbers.contains(&7) && numbers.contains(&40);
/// let numbers: Vec<u32> = (0..100).collect();
/// assert_eq!(mqttstack_testkit::shrink(numbers, 1_000, fails), [7, 40]);
/// ```
#[must_use]
pub fn shrink<T: Clone>(
    mut list: Vec<T>,
    mut attempts: usize,
    mut fails: impl FnMut(&[T]) -> bool,
) -> Vec<T> {
    let mut size = list.len().div_ceil(2);
    while size > 0 {
        let mut start = 0;
        let len_before = list.len();
        while start < list.len() {
            if attempts == 0 {
                return list;
            }
            attempts -= 1;
            let end = (start + size).min(list.len());
            let candidate = [&list[..start], &list[end..]].concat();
            if fails(&candidate) {
                list = candidate;
            } else {
                start = end;
            }
        }
        // As long as single elements can go, others may go once they have.
        let is_done = size == 1 && list.len() == len_before;
        size = if is_done {
            0
        } else {
            size.div_ceil(2).min(list.len())
        };
        if size == 0 || list.is_empty() {
            break;
        }
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_are_bounded_and_what_is_left_still_fails() {
        let mut count = 0;
        let left = shrink((0..1_000).collect(), 10, |list: &[u32]| {
            count += 1;
            list.contains(&999)
        });
        assert_eq!(count, 10);
        assert!(left.contains(&999));
    }

    #[test]
    fn what_fails_without_anything_shrinks_to_nothing() {
        assert_eq!(shrink(vec![1, 2, 3], 100, |_| true), []);
    }
}
