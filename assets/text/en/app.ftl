# App.
