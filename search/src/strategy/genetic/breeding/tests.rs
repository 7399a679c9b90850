use proptest::prelude::*;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde_json::json;

use super::*;

fn space() -> SearchSpace {
    let space = json!({
        "layer_sizes": {"low": 8, "high": 64, "step": 8},
        "depth": [1, 2, 4],
        "activation": ["relu", "tanh"],
        "learning_rate": {"low": 1e-4, "high": 1e-1, "log": true},
        "epochs": 5,
    });
    SearchSpace::parse(&space, "mlp").unwrap()
}

fn rng(seed: u64) -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(seed)
}

proptest! {
    #[test]
    fn breeding_stays_inside_the_space_and_leaves_parents_untouched(seed: u64, rate in 0.0..=1.0) {
        let (space, rng) = (space(), &mut rng(seed));
        let (mother, father) = (Genome::random(&space, rng), Genome::random(&space, rng));
        let before = (mother.clone(), father.clone());
        let children = [
            crossover(&mother, &father, rng),
            mutate(&space, &mother, rate, rng),
            mutate_once(&space, &father, rng),
        ];
        for child in children {
            prop_assert!(space.contains(&child.parameters(&space)), "{child:?}");
        }
        prop_assert_eq!((mother, father), before);
    }

    #[test]
    fn a_crossed_child_has_nothing_its_parents_lack(seed: u64) {
        let (space, rng) = (space(), &mut rng(seed));
        let (mother, father) = (Genome::random(&space, rng), Genome::random(&space, rng));
        let child = crossover(&mother, &father, rng);
        for (index, gene) in child.genes.iter().enumerate() {
            prop_assert!(gene == &mother.genes[index] || gene == &father.genes[index]);
        }
        let point = child.layers.iter().zip(&mother.layers).take_while(|(a, b)| a == b).count();
        prop_assert_eq!(&child.layers[point..], &father.layers[point..]);
    }

    #[test]
    fn one_mutation_always_makes_a_difference(seed: u64) {
        let (space, rng) = (space(), &mut rng(seed));
        let parent = Genome::random(&space, rng);
        prop_assert_ne!(mutate_once(&space, &parent, rng), parent);
    }
}

#[test]
fn rate_zero_copies_and_rate_one_changes_every_parameter_that_can_change() {
    let (space, rng) = (space(), &mut rng(3));
    let parent = Genome::random(&space, rng);
    assert_eq!(mutate(&space, &parent, 0.0, rng), parent);
    let child = mutate(&space, &parent, 1.0, rng);
    let same: Vec<&str> = space
        .parameters()
        .iter()
        .zip(parent.genes.iter().zip(&child.genes))
        .filter(|(_, (before, after))| before == after)
        .map(|((name, _), _)| name.as_str())
        .collect();
    assert_eq!(same, ["epochs"]);
}

#[test]
fn structure_grows_and_shrinks_through_every_allowed_depth() {
    let (space, rng) = (space(), &mut rng(3));
    let mut genome = Genome::random(&space, rng);
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..500 {
        let next = mutate_once(&space, &genome, rng);
        seen.insert((genome.layers.len(), next.layers.len()));
        genome = next;
    }
    let stays = [(1, 1), (2, 2), (4, 4)];
    let moves = [(1, 2), (2, 4), (4, 2), (2, 1)];
    assert_eq!(seen, stays.into_iter().chain(moves).collect());
}

#[test]
fn a_space_of_one_candidate_has_nothing_to_mutate() {
    let space =
        SearchSpace::parse(&json!({"layers": [64], "depth": 2, "activation": "relu"}), "mlp").unwrap();
    let genome = Genome::random(&space, &mut rng(1));
    assert_eq!(aspects(&space, &genome), []);
    assert_eq!(mutate_once(&space, &genome, &mut rng(1)), genome);
}
