//! Which values of a metric are still to be written.

use std::collections::BTreeMap;

use super::{Trouble, Writer};
use crate::projection::Point;
use crate::projection::steps::Steps;

impl Writer {
    /// Makes sure that it is known what a metric has, asking the server where the ledger does not know.
    pub(super) async fn know(
        &self,
        mlflow_id: &str,
        steps: &mut Steps,
        key: &str,
        ended_at: Option<i64>,
    ) -> Result<(), Trouble> {
        if !steps.must_be_asked(key) {
            return Ok(());
        }
        let history = self.client.history(mlflow_id, key).await?;
        steps.learn(key, history.into_iter().map(|point| point.into_point(key)), ended_at);
        Ok(())
    }

    /// The final values that are not written yet, each behind the last value of its metric.
    pub(super) async fn finals(
        &self,
        mlflow_id: &str,
        steps: &mut Steps,
        finals: BTreeMap<String, f64>,
        at: i64,
    ) -> Result<Vec<Point>, Trouble> {
        let mut points = Vec::new();
        for (key, value) in finals {
            self.know(mlflow_id, steps, &key, Some(at)).await?;
            points.extend(steps.finish(key, value, at));
        }
        Ok(points)
    }
}
