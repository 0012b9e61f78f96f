"""What several processes found, beside what one found."""

import numpy as np


def assert_as_alone(alone: dict, answers: list) -> None:
    assert all(isinstance(answer, dict) for answer in answers), answers
    assert np.array_equal(answers[0]["ranking"].users, alone["ranking"].users)  # each once, in order
    for answer in answers:
        np.testing.assert_allclose(answer["losses"], alone["losses"], rtol=2e-5)
        for name, weight in alone["weights"].items():
            # the bias of attention's keys has no gradient but that of rounding, which Adam makes large
            tolerance = 5e-3 if name.endswith("in_proj_bias") else 2e-5
            np.testing.assert_allclose(answer["weights"][name], weight, rtol=1e-3, atol=tolerance, err_msg=name)
            assert np.array_equal(answer["weights"][name], answers[0]["weights"][name]), name
        assert answer["valid"] == answers[0]["valid"]
        assert answer["test"] == answers[0]["test"]
