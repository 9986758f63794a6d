"""The activity of a site on test images, embedded in the plane by t-SNE (van der Maaten and Hinton 2008)."""

from runtime.learner import Learner
from runtime.reproduce.activity import activity
from runtime.reproduce.problems import Problem

SAMPLES = 1000
DIGITS = 4  # of a place in a picture


def embedding(learner: Learner, problem: Problem, site: str, when: str) -> dict[str, list[float]]:
    """Columns ``x WHEN`` and ``y WHEN``, and ``label``, over the first test images; in evaluation mode, the same in every call.

    Raises:
        TrainingError: a site that is no module's output.
    """
    # Only here: scikit-learn takes a second to import.
    from sklearn.manifold import TSNE

    x, y = problem.batch(SAMPLES)
    values, _ = activity(learner, x, (site,))
    places = TSNE(init="pca", random_state=0).fit_transform(values[site].flatten(1).numpy())
    columns = {f"{axis} {when}": [float(f"{place:.{DIGITS}g}") for place in places[:, k]] for k, axis in enumerate("xy")}
    return {"label": y.tolist(), **columns}
