"""One self-contained HTML page of trainings and evaluations: `page.write_report`.

    runs.py         what fairseq leaves behind: TensorBoard files, configuration -> Run
    results.py      what spin-fairseq evaluate writes -> Results
    charts.py       curves, heat map, codebook use, layers, as plain descriptions that plotly draws
    comparison.py   metrics of all models side by side
    utterances.py   some utterances with labels, units and players; media.py sound and pictures inside a page
    page.py         puts them into templates/, and writes the file

It knows nothing of fairseq and runs no model. Whatever comes from a file is data: it is checked, and escaped in the page.
"""
