from tests.mutations import MUTATIONS, locate


def test_every_mutation_still_has_its_source_text_and_its_tests():
    assert len(locate(MUTATIONS)) == len(MUTATIONS) == 20
