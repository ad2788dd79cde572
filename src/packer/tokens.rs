//! Delivery tokens: how a reader of the stream can tell what of a run was stored.

/// Names of records that are unlike those of any other run: a random run id and a sequence number.
///
/// An aggregate, and a record with a random key, is sent with its token as the partition key; so a reader of
/// the stream can tell what of this run was stored.
#[derive(Clone, Debug)]
pub struct DeliveryTokens {
    run_id: u128,
    next: u64,
    step: u64,
}

impl DeliveryTokens {
    /// Tokens of this run for one of `flow_count` flows, different from those of the others.
    pub fn new(run_id: u128, flow_index: usize, flow_count: usize) -> Self {
        Self { run_id, next: flow_index as u64, step: flow_count as u64 }
    }

    /// The run's id: as good as a random number.
    pub(super) fn run_id(&self) -> u128 {
        self.run_id
    }

    /// The next token.
    pub(super) fn draw(&mut self) -> String {
        let token = format!("{:032x}-{:x}", self.run_id, self.next);
        self.next += self.step;
        token
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_of_flows_do_not_meet() {
        let mut flows = [DeliveryTokens::new(0xab, 0, 2), DeliveryTokens::new(0xab, 1, 2)];
        let drawn: Vec<String> = (0..4).map(|turn| flows[turn % 2].draw()).collect();
        assert_eq!(drawn[0], "000000000000000000000000000000ab-0");
        assert_eq!(drawn.iter().collect::<std::collections::HashSet<_>>().len(), 4);
    }
}
