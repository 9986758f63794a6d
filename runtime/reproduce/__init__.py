"""Studies: the tables of the papers, run again by ``errorwire reproduce``.

A study is one file in ``studies`` with one record, ``STUDY``; ``studies/__init__.py`` lists it. Each row of the paper's table is a
``Case``, and nearly all of it is the text that the command line would take::

    Case(
        name="dkp",
        wiring="dkp",  # `errorwire list` shows presets and models; any field of a wiring can be set: "dfa:credit.kappa=10"
        model="dkp_cnn",
        data="fashion-mnist",  # or a synthetic set, see problems.py
        loss="cross_entropy",  # losses.py: also bce and mse
        init="glorot_uniform",  # forward weights, models/initial.py; without it the model's own. E starts as its wiring says.
        optimizer="sgd:lr=1e-2,momentum=0.9,nesterov=true,weight_decay=1e-6",  # options of torch's class
        error_optimizer="adam:lr=5e-4",  # where error synapses have their own
        error_schedule="step:every=1,factor=0.85",  # likewise schedule for forward parameters
        batch_size=50,
        epochs=100,  # the paper's length; --epochs shortens a run, and the page shows both
        published={"test_error": 8.34},  # the paper's figures; an accuracy of 91.66 % is an error of 8.34 %
        angles_every=5,  # keep angles to backpropagation behind every fifth epoch; measurements.py has others
    )

Numbers in ``published`` come from the paper and from nowhere else; whatever the paper leaves open is settled in the study's
``text``, which is printed over its table. ``figures`` name what is drawn: ``Curves`` of a metric, ``Angles``, and the
``Embedding`` of a site's activity where a case asks for one by ``embedded``.

Cases that differ in one thing are made by a function over names, as in ``studies/drtp_classification.py``. Another data set is a
function in ``problems.py``, another network a model of ``runtime.models``. Try a study with
``errorwire reproduce NAME --cases PATTERN --seeds 0 --epochs 1 --limit 1000 --folder /tmp/try``.

In the order of a run: ``command`` (what was named), ``study`` (the records), ``problems`` (data), ``engine`` (build, ``fit``, resume),
``results`` (a JSON file a case and seed), ``page`` and ``figures`` (all of them beside the papers).
"""
