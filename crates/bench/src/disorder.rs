//! Rows of which some come late, as from hosts that were cut off for a while.
//!
//! Of every ten rows in time order one is late; which of the ten is drawn. It is held back for a number of rows that
//! is drawn evenly from one to thirty intervals, an interval being a row of each host: 10 seconds to 5 minutes of the
//! data's time. Then it is sent, before the row that is due. What is still held when the rows end comes last, in the
//! order in which it was due. One seed makes the same order every time, and nothing is lost or doubled.

use std::collections::BTreeMap;

use crate::tsbs::Random;

/// One row of so many is late.
pub(crate) const LATE_ONE_OF: usize = 10;
/// The longest delay, in intervals.
const DELAY_INTERVALS_MAX: usize = 30;

/// Puts rows into the order in which they are sent.
pub(crate) struct Disorder<T> {
    random: Random,
    hosts: usize,
    /// The row that comes next, counted from 0.
    number: usize,
    /// Which one of the ten at hand is late.
    late: usize,
    /// By when they are due, then by number.
    held: BTreeMap<(usize, usize), T>,
}

impl<T> Disorder<T> {
    /// For rows of `hosts` hosts in turn.
    pub(crate) fn new(hosts: usize, seed: u64) -> Disorder<T> {
        Disorder { random: Random::new(seed), hosts: hosts.max(1), number: 0, late: 0, held: BTreeMap::new() }
    }

    /// Takes the next row in time order; `send` is given what is to be sent now.
    pub(crate) fn push(&mut self, row: T, send: &mut impl FnMut(T)) {
        let number = self.number;
        self.number += 1;
        if number.is_multiple_of(LATE_ONE_OF) {
            self.late = self.random.below(LATE_ONE_OF);
        }
        while let Some(entry) = self.held.first_entry()
            && entry.key().0 <= number
        {
            send(entry.remove());
        }
        if number % LATE_ONE_OF == self.late {
            let delay = self.hosts + 1 + self.random.below((DELAY_INTERVALS_MAX - 1) * self.hosts);
            self.held.insert((number + delay, number), row);
        } else {
            send(row);
        }
    }

    /// The rows have ended: gives out what is still held.
    pub(crate) fn finish(self, send: &mut impl FnMut(T)) {
        self.held.into_values().for_each(send);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOSTS: usize = 40;
    const ROWS: usize = 50_000;

    fn order(seed: u64) -> Vec<usize> {
        let mut sent = Vec::new();
        let mut disorder = Disorder::new(HOSTS, seed);
        for row in 0..ROWS {
            disorder.push(row, &mut |row| sent.push(row));
        }
        disorder.finish(&mut |row| sent.push(row));
        sent
    }

    #[test]
    fn a_seed_makes_one_order() {
        assert_eq!(order(1), order(1));
        assert_ne!(order(1), order(2));
    }

    #[test]
    fn nothing_is_lost_and_nothing_comes_twice() {
        let mut sent = order(3);
        sent.sort_unstable();
        assert!(sent.into_iter().eq(0..ROWS));
    }

    #[test]
    fn one_row_of_ten_is_late_by_up_to_five_minutes() {
        let mut newest = 0;
        let mut delays = Vec::new();
        for row in order(4) {
            let (interval, newest_interval) = (row / HOSTS, newest / HOSTS);
            if interval < newest_interval {
                delays.push(newest_interval - interval);
            }
            newest = newest.max(row);
        }
        // A late row of the last interval has nothing behind it; one may meet an interval that is late as a whole.
        let share = delays.len() as f64 / ROWS as f64;
        assert!((0.099..=0.1).contains(&share), "{share}");
        assert!(delays.iter().all(|delay| *delay <= DELAY_INTERVALS_MAX), "{:?}", delays.iter().max());
        let mean = delays.iter().sum::<usize>() as f64 / delays.len() as f64;
        assert!((14.0..=17.0).contains(&mean), "{mean}");
    }
}
