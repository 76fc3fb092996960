//! Numbers out of a key: a counter and a finaliser (SplitMix64 of Steele, Lea and Flood, "Fast splittable
//! pseudorandom number generators", 2014). A key gives the same numbers wherever and whenever it is asked.

const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

/// Spreads every bit over all others.
pub(super) fn mix(key: u64) -> u64 {
    let key = (key ^ (key >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let key = (key ^ (key >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    key ^ (key >> 31)
}

/// One key out of two.
pub(super) fn join(key: u64, next: u64) -> u64 {
    mix(key.wrapping_add(GAMMA) ^ mix(next.wrapping_add(GAMMA)))
}

/// The numbers of one row.
pub(super) struct Draws(pub(super) u64);

impl Draws {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GAMMA);
        mix(self.0)
    }

    /// From 0 to `bound` - 1; all of them for 0, which stands for 2^64.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        let number = self.next();
        if bound == 0 {
            return number;
        }
        ((u128::from(number) * u128::from(bound)) >> 64) as u64
    }

    /// From `low` to `high`, both among them.
    pub(super) fn between(&mut self, low: i64, high: i64) -> i64 {
        low.wrapping_add(self.below((high.wrapping_sub(low) as u64).wrapping_add(1)) as i64)
    }

    /// From 0 to 1, without 1.
    pub(super) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// From 0 to 1, without 1.
    pub(super) fn unit_f32(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1_u32 << 24) as f32
    }

    /// QuestDB's null rate: 0 for no nulls, 1 for nothing else, n for one among n.
    pub(super) fn is_null(&mut self, rate: u64) -> bool {
        match rate {
            0 => false,
            1 => true,
            rate => self.below(rate) == 0,
        }
    }
}
