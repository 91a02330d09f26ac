use super::channels::ChannelAxis;
use super::{Statistics, WireStatistics};
use crate::engine::graph::Wire;
use crate::engine::tensor::Value;

fn observed(values: Vec<f32>, shape: &[usize], axis: ChannelAxis, rows: (usize, usize)) -> WireStatistics {
    let mut statistics = Statistics::default();
    let value = Value::from_f32(values, shape).unwrap();
    statistics.observe(&Wire::from("x"), &value, axis, rows).unwrap();
    statistics.wire(&Wire::from("x")).unwrap().clone()
}

#[test]
fn samples_that_only_fill_a_batch_are_not_counted() {
    // Two samples of two channels of two values; the second sample is there twice.
    let values = vec![1.0, -2.0, 3.0, 0.0, 5.0, 5.0, -7.0, 1.0, 5.0, 5.0, -7.0, 1.0];
    let seen = observed(values.clone(), &[3, 2, 2], ChannelAxis::Second, (2, 3));
    assert_eq!((seen.values.count(), seen.values.mean()), (8, 11.0 / 8.0 - 5.0 / 8.0));
    let channels = seen.channels.unwrap();
    assert_eq!(channels.absmax(), [5.0, 7.0]);
    assert_eq!(channels.mean_squares(), [55.0 / 4.0, 59.0 / 4.0]);
    let last = observed(values, &[3, 2, 2], ChannelAxis::Last, (2, 3)).channels.unwrap();
    assert_eq!(last.absmax(), [7.0, 5.0]);
}

#[test]
fn channels_that_change_their_number_are_dropped_for_good() {
    let (mut statistics, wire) = (Statistics::default(), Wire::from("x"));
    for shape in [[2, 3], [3, 2], [2, 3]] {
        let value = Value::from_f32(vec![1.0; 6], &shape).unwrap();
        statistics.observe(&wire, &value, ChannelAxis::Last, (1, 1)).unwrap();
    }
    let seen = statistics.wire(&wire).unwrap();
    assert!(seen.channels.is_none() && seen.values.count() == 18);
}

#[test]
fn what_is_saved_is_read_again_and_nothing_else() {
    let (mut statistics, wire) = (Statistics::default(), Wire::from("x"));
    statistics.samples = 3;
    for batch in [vec![0.1, -0.7, 1e-30, 3e4], vec![0.0; 4], vec![-2.5, 1.0, 0.3, 0.2]] {
        statistics.observe(&wire, &Value::from_f32(batch, &[2, 2]).unwrap(), ChannelAxis::Last, (2, 2)).unwrap();
    }
    let text = statistics.to_ron().unwrap();
    assert_eq!(Statistics::from_ron(&text).as_ref(), Some(&statistics));
    // The cache of older versions, a newer one, one that was cut off, and counts that do not add up.
    let old = "(samples:3,ranges:{\"x\":(min:-2.5,max:30000.0,count:12,not_finite:0)})";
    let newer = text.replacen("version:2", "version:3", 1);
    let wrong = text.replacen("finite:12", "finite:13", 1);
    assert!(newer != text && wrong != text);
    for bad in [old, &newer, &wrong, &text[..text.len() / 2], ""] {
        assert_eq!(Statistics::from_ron(bad), None, "{bad}");
    }
    let far = text.replacen("first:", "first:9000000000000000000", 1);
    assert!(Statistics::from_ron(&far).is_none(), "bins beyond the last");
}
