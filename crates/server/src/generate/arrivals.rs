//! When users come: Poisson over a slow wave with short bursts, so that the page has something to show.
//!
//! The rate is a function of the time and the seed alone: two slow sine waves, and in some stretches of 45
//! seconds a burst of 5 to 15. It does not depend on when the generator was started, so the history that
//! `nowcast demo` makes runs on into what it makes live. Arrivals are drawn by thinning (Lewis and Shedler,
//! 1979): candidates at the highest rate, each kept with the share that the rate has of it.

use std::f64::consts::TAU;

use super::rng::{Rng, mix};

const STRETCH_US: i64 = 45_000_000;
/// The share of the stretches that have a burst.
const BURST_SHARE: f64 = 0.4;
/// Bursts multiply the rate by 2 to 3.
const BURST_MAX: f64 = 3.0;
const WAVES: [(f64, f64); 2] = [(900e6, 0.32), (130e6, 0.13)];
/// What the bursts add on average: a burst lasts 10 of 45 seconds and adds 1.5 times the rate.
const MEAN: f64 = 1.0 + BURST_SHARE * (10.0 / 45.0) * 1.5;
const PEAK: f64 = (1.0 + WAVES[0].1 + WAVES[1].1) * BURST_MAX / MEAN;

/// The rate at `time_us` as a multiple of the mean rate.
fn rate_at(seed: u64, time_us: i64) -> f64 {
    let time = time_us as f64;
    let wave: f64 =
        1.0 + WAVES.iter().map(|(period, height)| height * (TAU * time / period).sin()).sum::<f64>();
    let mut burst = Rng::new(mix(seed) ^ 0xb0_75, time_us.div_euclid(STRETCH_US).unsigned_abs());
    let within_us = time_us.rem_euclid(STRETCH_US);
    let (has_burst, lasts_us) = (burst.unit() < BURST_SHARE, burst.between(5_000_000, 15_000_000));
    let begins_us = burst.between(0, STRETCH_US - lasts_us);
    let bursting = has_burst && (begins_us..begins_us + lasts_us).contains(&within_us);
    let height = 2.0 + burst.unit() * (BURST_MAX - 2.0);
    wave * if bursting { height } else { 1.0 } / MEAN
}

/// Times at which users come.
#[derive(Debug, Clone)]
pub struct Arrivals {
    seed: u64,
    users_per_us: f64,
    rng: Rng,
    next_us: i64,
}

impl Arrivals {
    /// Arrivals after `from_us` (microseconds since 1970 UTC), `users_per_second` on average over hours.
    pub fn new(seed: u64, users_per_second: f64, from_us: i64) -> Arrivals {
        let users_per_us = users_per_second.clamp(1e-6, 1e6) / 1e6;
        let mut arrivals = Arrivals { seed, users_per_us, rng: Rng::new(seed, u64::MAX), next_us: from_us };
        arrivals.step();
        arrivals
    }

    fn step(&mut self) {
        let peak_per_us = self.users_per_us * PEAK;
        loop {
            self.next_us += (self.rng.exponential() / peak_per_us).ceil() as i64;
            if self.rng.unit() * PEAK < rate_at(self.seed, self.next_us) {
                return;
            }
        }
    }

    /// The next arrival if it is at or before `until_us`, in microseconds since 1970 UTC.
    pub fn next_until(&mut self, until_us: i64) -> Option<i64> {
        if self.next_us > until_us {
            return None;
        }
        let arrival_us = self.next_us;
        self.step();
        Some(arrival_us)
    }

    /// Forgets arrivals at or before `now_us`: after a pause nobody has queued at the door.
    pub fn skip_to(&mut self, now_us: i64) {
        if self.next_us <= now_us {
            self.next_us = now_us;
            self.step();
        }
    }
}
