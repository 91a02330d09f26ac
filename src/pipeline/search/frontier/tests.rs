use super::*;
use crate::engine::random::Random;

fn ctx() -> Ctx {
    Ctx::new(2).unwrap()
}

fn choice(size: u64, cost: f64) -> Choice {
    Choice { size, cost, other: 0 }
}

/// What a plan sums up to, and its third quantity.
fn sum(groups: &[Vec<Choice>], plan: &[usize]) -> (Point, u64) {
    let chosen = groups.iter().zip(plan).map(|(group, option)| group[*option]);
    chosen.fold((Point { size: 0, cost: 0.0 }, 0), |(sum, other), c| {
        (Point { size: sum.size + c.size, cost: sum.cost + c.cost }, other + c.other)
    })
}

/// All Pareto points (size, cost) by trying every plan.
fn brute_force(groups: &[Vec<Choice>], limit: Option<u64>) -> Vec<(u64, f64)> {
    let mut plans: Vec<Vec<usize>> = vec![Vec::new()];
    for group in groups {
        plans = plans.iter().flat_map(|p| (0..group.len()).map(move |o| [p.as_slice(), &[o]].concat())).collect();
    }
    let mut sums: Vec<(Point, u64)> = plans.iter().map(|p| sum(groups, p)).collect();
    sums.retain(|(p, other)| p.cost.is_finite() && limit.is_none_or(|l| *other <= l));
    let mut sums: Vec<Point> = sums.into_iter().map(|(p, _)| p).collect();
    sums.sort_by(|a, b| a.size.cmp(&b.size).then(a.cost.total_cmp(&b.cost)));
    let mut best = f64::INFINITY;
    sums.retain(|p| {
        let better = p.cost < best;
        best = best.min(p.cost);
        better
    });
    sums.iter().map(|p| (p.size, p.cost)).collect()
}

fn check(groups: &[Vec<Choice>], limit: Option<u64>) {
    let found = match frontier(groups, limit, &ctx()) {
        Err(FrontierError::Infeasible { .. }) => return assert!(brute_force(groups, limit).is_empty()),
        other => other.unwrap(),
    };
    assert!(found.is_exact);
    let points: Vec<(u64, f64)> = found.points.iter().map(|p| (p.size, p.cost)).collect();
    assert_eq!(points, brute_force(groups, limit), "{groups:?} within {limit:?}");
    for (i, point) in found.points.iter().enumerate() {
        let (summed, other) = sum(groups, &found.plan(i).unwrap());
        assert_eq!(summed, *point, "a plan sums up to its point");
        assert!(limit.is_none_or(|l| other <= l));
    }
    assert_eq!(found.plan(points.len()), None);
}

/// Costs are multiples of 1/64, so that sums are exact in any order; many ties.
fn random_groups(random: &mut Random) -> Vec<Vec<Choice>> {
    let below = |random: &mut Random, n: usize| (random.range(0.0, n as f32) as u64).min(n as u64 - 1);
    let count = 1 + below(random, 6);
    let group = |random: &mut Random| -> Vec<Choice> {
        let options = 1 + below(random, 5);
        let one = |random: &mut Random| {
            let nonsense = below(random, 20) == 0;
            let cost = if nonsense { f64::NAN } else { below(random, 40) as f64 / 64.0 };
            Choice { size: below(random, 30), cost, other: below(random, 12) }
        };
        let mut all: Vec<Choice> = (0..options).map(|_| one(random)).collect();
        all.push(Choice { size: 31, cost: 0.0, other: 12 });
        all
    };
    (0..count).map(|_| group(random)).collect()
}

#[test]
fn as_trying_every_plan() {
    let mut random = Random::new(15);
    for _ in 0..120 {
        let groups = random_groups(&mut random);
        check(&groups, None);
        let most: u64 = groups.iter().flatten().map(|c| c.other).sum();
        for limit in [most, 12 * groups.len() as u64, 9 * groups.len() as u64] {
            check(&groups, Some(limit));
        }
    }
}

/// Enough points that sets are cut into pieces: the same as one piece after the other.
#[test]
fn pieces_fit_together() {
    let mut random = Random::new(3);
    let groups: Vec<Vec<Choice>> = (0..90)
        .map(|_| {
            let (weights, base) = (random.range(1.0, 9e3) as u64, f64::from(random.range(0.5, 2.0)));
            let mut cost = |w: i32| base * f64::powi(0.4, w) * f64::from(random.range(0.8, 1.2));
            (0..6_i32).map(|w| choice(weights * (w as u64 + 2), cost(w))).collect()
        })
        .collect();
    let found = frontier(&groups, None, &ctx()).unwrap();
    assert!(found.is_exact && found.points.len() > 20_000, "{}", found.points.len());
    assert!(found.points.windows(2).all(|w| w[0].size < w[1].size && w[0].cost > w[1].cost));
    // Nothing else is limited: the three-dimensional way gives the same.
    let short = &groups[..14];
    let (a, b) = (frontier(short, None, &ctx()).unwrap(), frontier(short, Some(0), &ctx()).unwrap());
    assert_eq!(a.points, b.points);
    assert_eq!(a.plan(a.points.len() / 2), b.plan(a.points.len() / 2));
}

/// HAWQ-V3 (Yao et al. 2021), ResNet-18 between 4 and 8 bits: Hessian trace and squared weight change at 8 and 4
/// bits, parameters in units of 2^-8 MiB. The optimum at half of the way was confirmed by an integer program.
#[test]
fn published_plan_of_resnet18() {
    let layers: [(f64, f64, f64, u64); 19] = [
        (0.06857826, 0.0235, 6.743, 9),
        (0.03162379, 0.0125, 3.9691, 9),
        (0.03298575, 0.0102, 3.3281, 9),
        (0.01205663, 0.0082, 2.6796, 9),
        (0.02222431, 0.0145, 4.7277, 18),
        (0.00596336, 0.0344, 10.5966, 36),
        (0.06931772, 0.0023, 0.6827, 2),
        (0.00807129, 0.0287, 9.0942, 36),
        (0.00372905, 0.0148, 4.8857, 36),
        (0.00530698, 0.0333, 10.7599, 72),
        (0.00209011, 0.0682, 21.7546, 144),
        (0.00737569, 0.0027, 0.8603, 8),
        (0.00210454, 0.0448, 14.5324, 144),
        (0.00151197, 0.0336, 10.9651, 144),
        (0.00158041, 0.0576, 18.7706, 288),
        (0.00078146, 0.1130, 36.4044, 576),
        (0.00451841, 0.0102, 3.1572, 32),
        (0.00098745, 0.0947, 29.6994, 576),
        (0.00072944, 0.0532, 17.4016, 576),
    ];
    // Layers whose outputs are added share their width.
    let tied = [[4, 6], [9, 11], [14, 16]];
    let mut members: Vec<Vec<usize>> = (0..layers.len()).filter(|i| !tied.iter().any(|t| t[1] == *i)).map(|i| vec![i]).collect();
    for group in &mut members {
        let first = group[0];
        group.extend(tied.iter().filter(|t| t[0] == first).map(|t| t[1]));
    }
    // Sizes in units of 2^-9 MiB: whole numbers at 4 bits too.
    let option = |group: &Vec<usize>, eight: bool| {
        let of = |i: &usize| {
            let (trace, at8, at4, size) = layers[*i];
            if eight { (2 * size, trace * at8) } else { (size, trace * at4) }
        };
        group.iter().map(of).fold(choice(0, 0.0), |sum, (size, cost)| choice(sum.size + size, sum.cost + cost))
    };
    let groups: Vec<Vec<Choice>> = members.iter().map(|g| vec![option(g, false), option(g, true)]).collect();
    let found = frontier(&groups, None, &ctx()).unwrap();
    assert_eq!((groups.len(), found.points.len()), (16, 29));
    let best = found.within((7.98046875 * 512.0) as u64).unwrap();
    let point = found.points[best];
    assert!((point.cost - 0.0745059296).abs() < 1e-10, "{}", point.cost);
    assert_eq!(point.size as f64 / 512.0, 7.265625);
    let plan = found.plan(best).unwrap();
    let four: Vec<usize> = members.iter().zip(&plan).filter(|(_, o)| **o == 0).flat_map(|(g, _)| g.clone()).collect();
    assert_eq!(four, [15, 17, 18]);
}

#[test]
fn budgets_at_the_ends() {
    let groups = vec![vec![choice(4, 1.0), choice(8, 0.0)], vec![choice(4, 3.0), choice(8, 0.5), choice(9, 0.5)]];
    let found = frontier(&groups, None, &ctx()).unwrap();
    assert_eq!((found.within(7), found.within(8), found.within(u64::MAX)), (None, Some(0), Some(found.points.len() - 1)));
    assert_eq!(found.points[found.within(12).unwrap()].cost, 1.5);
    let nothing = frontier(&[], None, &ctx()).unwrap();
    assert_eq!((nothing.points.len(), nothing.plan(0)), (1, Some(Vec::new())));
}

#[test]
fn what_cannot_be_is_refused() {
    let hopeless = vec![vec![choice(1, 0.0)], vec![choice(1, f64::NAN), choice(2, f64::INFINITY)]];
    assert_eq!(frontier(&hopeless, None, &ctx()).unwrap_err(), FrontierError::NoOption { group: 1 });
    let heavy = vec![vec![Choice { size: 1, cost: 0.0, other: 5 }]; 3];
    let error = frontier(&heavy, Some(14), &ctx()).unwrap_err();
    assert_eq!(error, FrontierError::Infeasible { least: 15, limit: 14 });
    assert!(frontier(&heavy, Some(15), &ctx()).is_ok());
    let many = vec![vec![choice(1, 0.0); 257]];
    assert_eq!(frontier(&many, None, &ctx()).unwrap_err(), FrontierError::TooMany { group: 0, count: 257 });
    let stopped = ctx();
    stopped.cancel();
    assert!(matches!(frontier(&heavy, None, &stopped), Err(FrontierError::Cancelled(_))));
}
