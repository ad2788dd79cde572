//! MD5 of several messages at once, one in each lane of a vector.
//!
//! The steps of one MD5 wait for each other, so that a core does a quarter of what it could. Those of several messages do not. The
//! steps are written once, over arrays of lanes, of which the compiler makes vectors: as wide as the processor has them, which is
//! asked when the agent runs. The arrays are twice as long as the widest vectors, so that one of them is computed while the other waits.
//!
//! It decides how many lanes there are and which message goes into which. What is digested, and how many are there at once, is the
//! caller's. Its two calls into code for certain processors are all that is `unsafe` in this crate.

use std::array;
use std::iter::Flatten;

/// The MD5 of one message.
pub type Digest = [u8; 16];

/// Bytes that are digested in one go.
const BLOCK_BYTES: usize = 64;
/// Behind a message stand at least a bit that is set, in a byte of its own, and its length.
const PADDING_BYTES_MIN: usize = 1 + 8;

#[cfg(target_arch = "x86_64")]
const AVX512_LANES: usize = 32;
/// With fewer than so many those of the baseline are faster. Measured on Zen 5, as for AVX2.
#[cfg(target_arch = "x86_64")]
const AVX512_LANES_MIN: usize = 12;
#[cfg(target_arch = "x86_64")]
const AVX2_LANES: usize = 16;
#[cfg(target_arch = "x86_64")]
const AVX2_LANES_MIN: usize = 9;
/// Those of SSE2, which every x86-64 has. On aarch64 they are no vectors, but its registers are enough for them.
const BASELINE_LANES: usize = 4;

/// One word of each lane.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Row<const LANES: usize>([u32; LANES]);

/// What has become of the blocks so far, of each lane.
type State<const LANES: usize> = [Row<LANES>; 4];

/// How many messages are digested at once: with as many, or a multiple, nothing idles.
pub fn lane_count() -> usize {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f") {
            return AVX512_LANES;
        }
        if is_x86_feature_detected!("avx2") {
            return AVX2_LANES;
        }
    }
    BASELINE_LANES
}

/// Puts the MD5 of each message in `out`, in their order, instead of what is there.
pub fn digests(messages: &[&[u8]], out: &mut Vec<Digest>) {
    out.clear();
    out.resize(messages.len(), [0; 16]);
    #[cfg(target_arch = "x86_64")]
    {
        if with_avx512(messages, out) || with_avx2(messages, out) {
            return;
        }
    }
    with_baseline(messages, out);
}

/// False, and nothing done, where the processor has no AVX-512.
#[cfg(target_arch = "x86_64")]
fn with_avx512(messages: &[&[u8]], out: &mut [Digest]) -> bool {
    #[target_feature(enable = "avx512f")]
    fn take_blocks(state: &mut State<AVX512_LANES>, pieces: &[&[u8]; AVX512_LANES], block_count: usize) {
        take(state, pieces, block_count);
    }
    let is_there = is_x86_feature_detected!("avx512f");
    if is_there {
        let rest = run(jobs(messages), AVX512_LANES_MIN, out, |state, pieces, block_count| {
            // Safety: the processor has what the function needs, as was just asked.
            unsafe { take_blocks(state, pieces, block_count) };
        });
        run_baseline(rest, out);
    }
    is_there
}

/// False, and nothing done, where the processor has no AVX2.
#[cfg(target_arch = "x86_64")]
fn with_avx2(messages: &[&[u8]], out: &mut [Digest]) -> bool {
    #[target_feature(enable = "avx2")]
    fn take_blocks(state: &mut State<AVX2_LANES>, pieces: &[&[u8]; AVX2_LANES], block_count: usize) {
        take(state, pieces, block_count);
    }
    let is_there = is_x86_feature_detected!("avx2");
    if is_there {
        let rest = run(jobs(messages), AVX2_LANES_MIN, out, |state, pieces, block_count| {
            // Safety: the processor has what the function needs, as was just asked.
            unsafe { take_blocks(state, pieces, block_count) };
        });
        run_baseline(rest, out);
    }
    is_there
}

/// With what every processor of this kind has.
fn with_baseline(messages: &[&[u8]], out: &mut [Digest]) -> bool {
    run_baseline(jobs(messages), out);
    true
}

fn run_baseline<'a>(jobs: impl Iterator<Item = Job<'a>>, out: &mut [Digest]) {
    let rest = run(jobs, 2, out, take::<BASELINE_LANES>);
    run(rest, 1, out, take::<1>).for_each(drop);
}

fn jobs<'a>(messages: &[&'a [u8]]) -> impl Iterator<Item = Job<'a>> {
    messages.iter().enumerate().map(|(index, message)| Job::new(index, message))
}

/// A message that is being digested.
struct Job<'a> {
    /// Its place among the messages.
    index: usize,
    /// What has become of the blocks that were taken, while it is in no lane.
    state: [u32; 4],
    /// The blocks of it that were not taken yet.
    body: &'a [u8],
    /// What is less than a block at its end, and what stands behind that: one block, or two.
    tail: [u8; 2 * BLOCK_BYTES],
    /// Which part of `tail` was not taken yet.
    tail_start: usize,
    tail_end: usize,
}

impl<'a> Job<'a> {
    fn new(index: usize, message: &'a [u8]) -> Self {
        let (body, rest) = message.split_at(message.len() / BLOCK_BYTES * BLOCK_BYTES);
        let mut tail = [0; 2 * BLOCK_BYTES];
        let tail_end = if rest.len() + PADDING_BYTES_MIN <= BLOCK_BYTES { BLOCK_BYTES } else { 2 * BLOCK_BYTES };
        tail[..rest.len()].copy_from_slice(rest);
        tail[rest.len()] = 0x80;
        tail[tail_end - 8..tail_end].copy_from_slice(&(message.len() as u64).wrapping_mul(8).to_le_bytes());
        Self { index, state: START, body, tail, tail_start: 0, tail_end }
    }

    /// What comes next, in one piece: whole blocks.
    fn piece(&self) -> &[u8] {
        if self.body.is_empty() { &self.tail[self.tail_start..self.tail_end] } else { self.body }
    }

    /// So many of those were taken. True when none are left.
    fn advance(&mut self, block_count: usize) -> bool {
        let byte_count = block_count * BLOCK_BYTES;
        if self.body.is_empty() {
            self.tail_start += byte_count;
        } else {
            self.body = &self.body[byte_count..];
        }
        self.tail_start == self.tail_end
    }

    fn digest(&self) -> Digest {
        let mut digest = [0; 16];
        for (bytes, word) in digest.chunks_exact_mut(4).zip(self.state) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        digest
    }
}

/// Takes jobs through lanes, as long as there are `fewest`, and puts what comes out in `out`. Where one ends the next begins. Gives
/// back those that are left.
fn run<'a, const LANES: usize>(
    mut coming: impl Iterator<Item = Job<'a>>,
    fewest: usize,
    out: &mut [Digest],
    take_blocks: impl Fn(&mut State<LANES>, &[&[u8]; LANES], usize),
) -> Flatten<array::IntoIter<Option<Job<'a>>, LANES>> {
    let mut state = START.map(|word| Row([word; LANES]));
    let mut jobs: [Option<Job<'a>>; LANES] = array::from_fn(|lane| {
        let job = coming.next()?;
        enter(&mut state, lane, &job);
        Some(job)
    });
    while let Some(first) = jobs.iter().flatten().next()
        && jobs.iter().flatten().count() >= fewest
    {
        // An idle lane goes along with any other.
        let idle = first.piece();
        let pieces: [&[u8]; LANES] = array::from_fn(|lane| jobs[lane].as_ref().map_or(idle, Job::piece));
        let block_count = pieces.iter().map(|piece| piece.len()).min().unwrap_or(0) / BLOCK_BYTES;
        take_blocks(&mut state, &pieces, block_count);
        for (lane, place) in jobs.iter_mut().enumerate() {
            if let Some(job) = place
                && job.advance(block_count)
            {
                leave(&state, lane, job);
                out[job.index] = job.digest();
                *place = coming.next();
                if let Some(job) = place {
                    enter(&mut state, lane, job);
                }
            }
        }
    }
    for (lane, job) in jobs.iter_mut().enumerate() {
        if let Some(job) = job {
            leave(&state, lane, job);
        }
    }
    // When fewer are in lanes than there could be, none are coming.
    jobs.into_iter().flatten()
}

fn enter<const LANES: usize>(state: &mut State<LANES>, lane: usize, job: &Job<'_>) {
    for (row, word) in state.iter_mut().zip(job.state) {
        row.0[lane] = word;
    }
}

fn leave<const LANES: usize>(state: &State<LANES>, lane: usize, job: &mut Job<'_>) {
    for (row, word) in state.iter().zip(&mut job.state) {
        *word = row.0[lane];
    }
}

/// Takes the first blocks of each piece.
#[inline(always)]
fn take<const LANES: usize>(state: &mut State<LANES>, pieces: &[&[u8]; LANES], block_count: usize) {
    let mut words = [Row([0; LANES]); 16];
    for block in 0..block_count {
        load(&mut words, pieces, block * BLOCK_BYTES);
        take_block(state, &words);
    }
}

/// The words of a block, each beside those of the other lanes. Not inlined: with AVX2 the compiler would make gathers of it, which
/// are slower on many processors.
#[inline(never)]
fn load<const LANES: usize>(words: &mut [Row<LANES>; 16], pieces: &[&[u8]; LANES], start: usize) {
    for (lane, piece) in pieces.iter().enumerate() {
        let block = &piece[start..start + BLOCK_BYTES];
        for (row, bytes) in words.iter_mut().zip(block.as_chunks().0) {
            row.0[lane] = u32::from_le_bytes(*bytes);
        }
    }
}

#[inline(always)]
fn take_block<const LANES: usize>(state: &mut State<LANES>, words: &[Row<LANES>; 16]) {
    let mut new = *state;
    macro_rules! round {
        ($round:literal: $($number:literal)*) => { $( step::<$round, $number, LANES>(&mut new, words); )* };
    }
    round!(0: 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
    round!(1: 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
    round!(2: 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
    round!(3: 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
    for (row, new) in state.iter_mut().zip(new) {
        for (word, new) in row.0.iter_mut().zip(new.0) {
            *word = word.wrapping_add(new);
        }
    }
}

/// One of 16 steps of one of 4 rounds (RFC 1321, 3.4). The names are the RFC's. Each loop is one instruction, or two.
#[inline(always)]
fn step<const ROUND: usize, const NUMBER: usize, const LANES: usize>(state: &mut State<LANES>, words: &[Row<LANES>; 16]) {
    let first = (4 - NUMBER % 4) % 4;
    let [a, b, c, d] = array::from_fn(|place| state[(first + place) % 4].0);
    let word = match ROUND {
        0 => words[NUMBER].0,
        1 => words[(5 * NUMBER + 1) % 16].0,
        2 => words[(3 * NUMBER + 5) % 16].0,
        _ => words[(7 * NUMBER) % 16].0,
    };
    let mut sum = a;
    for lane in 0..LANES {
        sum[lane] = a[lane].wrapping_add(word[lane]).wrapping_add(SINES[ROUND * 16 + NUMBER]);
    }
    let mut mixed = a;
    for lane in 0..LANES {
        mixed[lane] = match ROUND {
            0 => d[lane] ^ (b[lane] & (c[lane] ^ d[lane])),
            1 => c[lane] ^ (d[lane] & (b[lane] ^ c[lane])),
            2 => b[lane] ^ c[lane] ^ d[lane],
            _ => c[lane] ^ (b[lane] | !d[lane]),
        };
    }
    for lane in 0..LANES {
        let rotated = sum[lane].wrapping_add(mixed[lane]).rotate_left(ROTATIONS[ROUND][NUMBER % 4]);
        state[first].0[lane] = rotated.wrapping_add(b[lane]);
    }
}

const START: [u32; 4] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];
const ROTATIONS: [[u32; 4]; 4] = [[7, 12, 17, 22], [5, 9, 14, 20], [4, 11, 16, 23], [6, 10, 15, 21]];
/// Number i is the integer part of 2^32 times |sin(i + 1)|.
#[rustfmt::skip]
const SINES: [u32; 64] = [
    0xd76a_a478, 0xe8c7_b756, 0x2420_70db, 0xc1bd_ceee, 0xf57c_0faf, 0x4787_c62a, 0xa830_4613, 0xfd46_9501,
    0x6980_98d8, 0x8b44_f7af, 0xffff_5bb1, 0x895c_d7be, 0x6b90_1122, 0xfd98_7193, 0xa679_438e, 0x49b4_0821,
    0xf61e_2562, 0xc040_b340, 0x265e_5a51, 0xe9b6_c7aa, 0xd62f_105d, 0x0244_1453, 0xd8a1_e681, 0xe7d3_fbc8,
    0x21e1_cde6, 0xc337_07d6, 0xf4d5_0d87, 0x455a_14ed, 0xa9e3_e905, 0xfcef_a3f8, 0x676f_02d9, 0x8d2a_4c8a,
    0xfffa_3942, 0x8771_f681, 0x6d9d_6122, 0xfde5_380c, 0xa4be_ea44, 0x4bde_cfa9, 0xf6bb_4b60, 0xbebf_bc70,
    0x289b_7ec6, 0xeaa1_27fa, 0xd4ef_3085, 0x0488_1d05, 0xd9d4_d039, 0xe6db_99e5, 0x1fa2_7cf8, 0xc4ac_5665,
    0xf429_2244, 0x432a_ff97, 0xab94_23a7, 0xfc93_a039, 0x655b_59c3, 0x8f0c_cc92, 0xffef_f47d, 0x8584_5dd1,
    0x6fa8_7e4f, 0xfe2c_e6e0, 0xa301_4314, 0x4e08_11a1, 0xf753_7e82, 0xbd3a_f235, 0x2ad7_d2bb, 0xeb86_d391,
];

#[cfg(test)]
mod tests {
    use md5::{Digest as _, Md5};
    use proptest::prelude::*;

    use super::*;

    type With = fn(&[&[u8]], &mut [Digest]) -> bool;

    /// What this processor does in each of the ways that it can.
    fn in_every_way(messages: &[&[u8]]) -> Vec<(&'static str, Vec<Digest>)> {
        #[cfg(target_arch = "x86_64")]
        let ways: [(&str, With); 3] = [("AVX-512", with_avx512), ("AVX2", with_avx2), ("baseline", with_baseline)];
        #[cfg(not(target_arch = "x86_64"))]
        let ways: [(&str, With); 1] = [("baseline", with_baseline)];
        let mut results = Vec::new();
        for (name, with) in ways {
            let mut digests = vec![[1; 16]; messages.len()];
            if with(messages, &mut digests) {
                results.push((name, digests));
            }
        }
        // What was there before is replaced.
        let mut chosen = vec![[1; 16]; 3];
        digests(messages, &mut chosen);
        results.push(("chosen", chosen));
        results
    }

    fn check(messages: &[&[u8]]) {
        let expected: Vec<Digest> = messages.iter().map(|message| Md5::digest(message).into()).collect();
        for (way, digests) in in_every_way(messages) {
            assert!(digests == expected, "{way}, {} messages", messages.len());
        }
    }

    /// The test suite of RFC 1321, A.5.
    #[test]
    fn the_digests_are_those_of_the_rfc() {
        let suite = [
            ("", 0xd41d_8cd9_8f00_b204_e980_0998_ecf8_427e_u128),
            ("a", 0x0cc1_75b9_c0f1_b6a8_31c3_99e2_6977_2661),
            ("abc", 0x9001_5098_3cd2_4fb0_d696_3f7d_28e1_7f72),
            ("message digest", 0xf96b_697d_7cb7_938d_525a_2f31_aaf1_61d0),
            ("abcdefghijklmnopqrstuvwxyz", 0xc3fc_d3d7_6192_e400_7dfb_496c_ca67_e13b),
            ("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789", 0xd174_ab98_d277_d9f5_a561_1c2c_9f41_9d9f),
            (&"1234567890".repeat(8), 0x57ed_f4a2_2be3_c955_ac49_da2e_2107_b67a),
        ];
        let messages: Vec<&[u8]> = suite.iter().map(|(message, _)| message.as_bytes()).collect();
        for (way, digests) in in_every_way(&messages) {
            assert_eq!(digests, suite.map(|(_, digest)| digest.to_be_bytes()), "{way}");
        }
    }

    #[test]
    fn every_length_around_the_borders_of_blocks_is_padded_as_it_must_be() {
        let bytes: Vec<u8> = (0..=255).cycle().take(1_000).collect();
        check(&(0..300).map(|length| &bytes[length..2 * length]).collect::<Vec<_>>());
        for length in (50..70).chain(114..134) {
            check(&[&bytes[..length]; 33]);
        }
    }

    #[test]
    fn any_number_of_messages_is_digested() {
        let bytes: Vec<u8> = (0..=255).cycle().take(1_000).collect();
        for count in 0..100 {
            check(&(0..count).map(|number| &bytes[number..500 + number % 7 * 70]).collect::<Vec<_>>());
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn messages_of_any_length_are_digested_beside_each_other(
            messages in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..700), 0..80),
        ) {
            check(&messages.iter().map(Vec::as_slice).collect::<Vec<_>>());
        }
    }
}
