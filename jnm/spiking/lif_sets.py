"""Sets A and B of the LIF network: what the paper leaves open, chosen so that synchrony sets in as it describes.

Set A reads the paper's Q = 5e-4 as mV^2 ms, which is next to no noise; set B as V^2 ms, 3.5 mV of stationary spread. Both
were tuned by eye on networks of 1,000 neurons, B after it was seen which one resembled the paper: its resemblance does
not tell which reading is right.
"""

FULL_SIZE = 10_000
AT_FULL_SIZE = "our choice at 10,000 neurons: the paper's table was not at hand; tuned by eye to show its transition"

SETS: dict[str, dict[str, float]] = {
    "A": {"q_E": 0.05, "q_I": 0.25, "q_X": 5.0, "Q": 5e-4},
    "B": {"q_E": 0.05, "q_I": 0.25, "q_X": 3.3, "Q": 500.0},
}
