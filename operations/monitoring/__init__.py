"""What Prometheus, Alertmanager and Grafana are given: rules, routes and dashboards, as files."""
